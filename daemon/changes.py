"""What differs between two sets of settings, and what it takes to change it in a running worker.

Pure. Settings are named by their paths (`models.chat.path`), never shown: some are secrets.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from daemon.job_types import Model
from daemon.settings import Settings

IN_PLACE = (
    "log",
    "stop",
    "max_held",
    "enhance",
    "artifacts.provenance",
    "live.interval_s",
    "live.previews",
    "live.messages_per_s",
    "live.max_payload_bytes",
    "models.*.defaults",
    "wakeups.sweep_interval_s",
    "wakeups.sweep_interval_blind_s",
)
"""Taken up at once, beside jobs that run: they go on by what they began with."""

PROCESS = ("server", "worker_name", "state_dir")
"""Part of what the process is: its socket, its name in the database, its lock. A restart's."""

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Changes:
    """Paths of settings that differ, by what it takes to take them up."""

    in_place: tuple[str, ...] = ()
    rebuild: tuple[str, ...] = ()
    """A drain, and parts that are built anew."""
    restart: tuple[str, ...] = ()


def changes(old: Settings, new: Settings) -> Changes:
    """Return what differs."""
    before, after = dict(_leaves(old.model_dump())), dict(_leaves(new.model_dump()))
    paths = sorted(
        path
        for path in before.keys() | after.keys()
        if before.get(path, _MISSING) != after.get(path, _MISSING)
    )
    restart = tuple(path for path in paths if _within(path, PROCESS))
    in_place = tuple(path for path in paths if _within(path, IN_PLACE))
    rest = tuple(path for path in paths if path not in {*restart, *in_place})
    return Changes(in_place, rest, restart)


def without_restart(old: Settings, new: Settings) -> Settings:
    """Return the new settings, with those of the process as they are."""
    return new.model_copy(update={name: getattr(old, name) for name in PROCESS})


def same_models(old: Settings, new: Settings) -> frozenset[str]:
    """Return the models whose engines do under the new settings what they did under the old."""
    before, after = _of_engines(old), _of_engines(new)
    return frozenset(model.value for model in after if before.get(model) == after[model])


def _of_engines(settings: Settings) -> dict[Model, dict[str, Any]]:
    """Return what the engines of the models that are served depend on."""
    return {
        model: chosen.model_dump(exclude={"defaults"})
        for model, chosen in settings.enabled_models.items()
    }


def _leaves(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value


def _within(path: str, patterns: tuple[str, ...]) -> bool:
    return any(
        fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}.*") for pattern in patterns
    )
