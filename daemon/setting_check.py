"""All that can be known to be wrong with the settings without asking anybody."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.model_specs import specs_from
from daemon.preflight import problems
from daemon.server.service import bind_host
from daemon.settings import Settings, SettingsError, load_settings
from daemon.wakeups.listen import refuse_transaction_pooler


def problems_of(config: Path | None, overrides: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each problem."""
    try:
        settings = load_settings(config, overrides)
    except SettingsError as error:
        return str(error).splitlines()
    return [*problems(settings), *_refusals(settings)]


def _refusals(settings: Settings) -> list[str]:
    """Return what the parts would refuse when they are built."""
    found = []
    for attempt in (
        lambda: bind_host(settings.server),
        lambda: specs_from(settings.enabled_models),
    ):
        try:
            attempt()
        except SettingsError as error:
            found.append(str(error))
    dsn = settings.database.dsn
    if settings.wakeups.listen and dsn is not None:
        refusal = refuse_transaction_pooler(dsn.get_secret_value())
        found += [refusal] if refusal else []
    return found
