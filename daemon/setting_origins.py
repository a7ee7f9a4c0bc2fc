"""What is in effect, and which source said so."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from daemon.settings import Layer, Settings, load_settings, read_layers, variables_of

MASK = "***"


@dataclass(frozen=True, slots=True)
class Origin:
    """A setting's value in JSON, and its source.

    Attributes:
        value: a secret that is set is a mask.
        source: `default`, `file <path>`, the name of a variable, or `command line`.
    """

    value: Any
    source: str


def origins(config: Path | None, overrides: Mapping[str, Any]) -> dict[str, Origin]:
    """Return every setting that is in effect, by its path.

    Raises:
        SettingsError: with one line for each thing that is wrong.
    """
    settings = load_settings(config, overrides)
    layers, _ = read_layers(config, overrides)
    return {path: Origin(value, _source(path, layers)) for path, value in _leaves(settings)}


def _leaves(settings: Settings) -> Iterator[tuple[str, Any]]:
    yield from _walk("", {name: getattr(settings, name) for name in type(settings).model_fields})


def _walk(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, SecretStr):
        yield path, MASK if value.get_secret_value() else ""
    elif hasattr(value, "model_fields_set"):
        yield from _walk(path, {name: getattr(value, name) for name in type(value).model_fields})
    elif isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _walk(f"{path}.{name}".strip("."), item)
    else:
        yield path, _plain(value)


def _plain(value: Any) -> Any:
    match value:
        case Path():
            return str(value)
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def _source(path: str, layers: list[Layer]) -> str:
    for layer in reversed(layers):
        if _says(layer.values, path.split(".")):
            if layer.source == "environment":
                return _variable(path) or layer.source
            return f"{layer.source} {layer.name}".strip()
    return "default"


def _says(values: Any, path: list[str]) -> bool:
    """Whether there is a value at the path, or one above it that replaces the whole table."""
    for part in path:
        if not isinstance(values, Mapping):
            return True
        if part not in values:
            return False
        values = values[part]
    return True


def _variable(path: str) -> str | None:
    """Return the variable that sets the path: of its own, or JSON of a table around it."""
    # A short name that is empty counts as not set.
    names = {
        name.upper(): name
        for name, value in os.environ.items()
        if value or name.upper().startswith("OURVIDZ_")
    }
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        for name in variables_of(".".join(parts[:length])):
            if name in names:
                return names[name]
    return None
