"""The whole examination: which checks there are, and what they share."""

import contextlib
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from daemon.doctor import database, gpus, host, models, project, storage, wakeups
from daemon.doctor.findings import Check, Finding, clean, examine, failed, ok
from daemon.setting_check import problems_of
from daemon.settings import Settings, SettingsError, load_settings
from daemon.telemetry.gpu import GpuSample, Nvml
from daemon.telemetry.redaction import register_secret

_MISSING_MODEL = re.compile(r"model \w+: .* does not exist")

Gpus = Callable[[], tuple[GpuSample, ...]]


@dataclass(frozen=True, slots=True)
class Instruments:
    """What the checks read the world by."""

    clock: Callable[[], float] = time.time
    """Unix seconds."""
    gpus: Gpus = field(default_factory=lambda: Nvml(os.environ.get("CUDA_VISIBLE_DEVICES")))


async def examination(
    config: Path | None, overrides: Mapping[str, Any], instruments: Instruments | None = None
) -> list[Finding]:
    """Look at everything; return what was found, free of secrets.

    Args:
        config: the settings' file.
        overrides: what goes over file and environment.
        instruments: what the world is read by.
    """
    found = _configuration(config, overrides)
    with contextlib.suppress(SettingsError):  # All that is wrong has been found above.
        settings = load_settings(config, overrides)
        hide_secrets(settings)
        found += await examine(checks_of(settings, instruments or Instruments()))
    return [clean(finding) for finding in found]


def checks_of(settings: Settings, instruments: Instruments) -> list[Check]:
    """Return the checks that these settings ask for."""
    return [
        Check("database", partial(database.look, settings, instruments.clock)),
        Check("project", partial(project.look, settings, instruments.clock)),
        Check("wake-ups", partial(wakeups.look, settings), timeout_s=40),
        Check("storage", partial(storage.look, settings), timeout_s=40),
        Check("gpu", partial(gpus.look, settings, instruments.gpus)),
        Check("models", partial(models.look, settings), timeout_s=60),
        Check("host", partial(host.look, settings)),
    ]


def hide_secrets(settings: Settings) -> None:
    """Have the settings' secrets hidden in every finding."""
    supabase = settings.supabase
    for secret in (settings.database.dsn, supabase.key, supabase.token, settings.server.api_key):
        if secret is not None:
            register_secret(secret.get_secret_value())


def _configuration(config: Path | None, overrides: Mapping[str, Any]) -> list[Finding]:
    # Whether models are there is looked at more closely by a check of its own.
    problems = [each for each in problems_of(config, overrides) if not _MISSING_MODEL.match(each)]
    if not problems:
        where = f"{config} and environment" if config else "environment alone"
        return [ok("configuration", f"the settings are right ({where})")]
    advice = "docs/configuration.md has every setting"
    return [failed("configuration", problem, advice) for problem in problems]
