"""Frozen settings from a TOML file, secret files and the environment, with all errors at once.

The environment wins over secret files (`secret_files`), and those over the TOML file. Names in the
environment are `OURVIDZ_` and the path with two underscores: `OURVIDZ_SERVER__PORT=7861`. The names
that `worker-api.md` fixes (`SUPABASE_URL`, `SUPABASE_SERVICE_ROLE_KEY`, `WORKER_API_KEY`) and a few
usual ones work as they are: see `_KNOWN_NAMES`.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as UnreadableVariableError

from daemon.job_types import Model
from daemon.outside_sections import LiveSettings, LogSettings, MqttSettings, TracingSettings
from daemon.secret_files import VARIABLE, SecretFilesError, nested_values, plain_values
from daemon.sections import (
    ArtifactSettings,
    DatabaseSettings,
    DeviceSettings,
    EnhanceSettings,
    LeaseSettings,
    ModelSettings,
    Positive,
    ProblemsError,
    ServerSettings,
    StopSettings,
    SupabaseSettings,
    WakeUpSettings,
)


class SettingsError(Exception):
    """Every problem with the settings, one line each."""


_DEFAULT_MODELS: Mapping[str, Mapping[str, Any]] = {
    # Budgets, footprints and concurrency: the tables of the worker's API document. Video's
    # configuration there says 16 GB, but its high quality needs 20. Weights: what its fast
    # quality leaves after the activations of its concurrent runs. Seconds of runs: its average
    # generation times; of loads: a fast disk. Somebody reads along with a chat: it weighs more.
    "chat": {
        "path": "/models/chat/", "name": "Qwen2.5-7B-Instruct",
        "runner": "vllm", "budget_gb": 4,
        "weights_gb": 3.2, "max_concurrent": 8, "footprint_gb": {"fast": 4},
        "concurrency": {"fast": 8}, "load_s": 12, "run_s": {"fast": 10}, "weight": 4,
    },
    "sdxl": {
        "path": "/models/sdxl/", "name": "sdxl", "budget_gb": 12, "weights_gb": 6.6,
        "max_concurrent": 2, "footprint_gb": {"fast": 8, "high": 12},
        "concurrency": {"fast": 2, "high": 1}, "load_s": 8, "run_s": {"fast": 15, "high": 30},
    },
    "wan": {
        "path": "/models/wan/", "name": "wan", "budget_gb": 6, "weights_gb": 2.8,
        "max_concurrent": 4, "footprint_gb": {"fast": 4, "high": 6},
        "concurrency": {"fast": 4, "high": 2}, "load_s": 4, "run_s": {"fast": 5, "high": 10},
    },
    "video": {
        "path": "/models/video/", "name": "wan-video", "budget_gb": 20, "weights_gb": 12,
        "max_concurrent": 1, "footprint_gb": {"fast": 16, "high": 20},
        "concurrency": {"fast": 1, "high": 1}, "load_s": 15,
        "run_s": {"fast": 60, "high": 120},
    },
}  # fmt: skip


class Settings(BaseSettings):
    """Everything that can be set. Build it with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="OURVIDZ_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    worker_type: Literal["all", "chat", "sdxl", "wan", "video"] = "all"
    """Which models are served: all that are `enabled`, or those of one family."""
    worker_name: str = ""
    """Survives restarts; default: host name and port."""
    database: DatabaseSettings = DatabaseSettings()
    supabase: SupabaseSettings = SupabaseSettings()
    wakeups: WakeUpSettings = WakeUpSettings()
    leases: LeaseSettings = LeaseSettings()
    models: Mapping[Model, ModelSettings]
    device: DeviceSettings = DeviceSettings()
    enhance: EnhanceSettings = EnhanceSettings()
    artifacts: ArtifactSettings = ArtifactSettings()
    server: ServerSettings = ServerSettings()
    live: LiveSettings = LiveSettings()
    stop: StopSettings = StopSettings()
    log: LogSettings = LogSettings()
    mqtt: MqttSettings = MqttSettings()
    tracing: TracingSettings = TracingSettings()
    max_pass_over_s: Positive = 900.0
    """The longest that jobs of a class may wait with none of them running: then they go first."""
    preload: tuple[Model, ...] = (Model.SDXL, Model.CHAT, Model.WAN)
    """Models that are loaded whenever there is room and nobody waits, the first one first. By
    default those that fit on a device of 24 GB together: a first job then finds its model."""
    max_held: int = Field(default=64, ge=1)
    """How many jobs may be held at once, those that are being uploaded included."""
    state_dir: Path = Path("~/.local/state/ourvidz-worker")
    """Where the worker keeps the lock on its name, and what it has learned of its models."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load_settings` gives, which has merged the sources itself."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @field_validator("models")
    @classmethod
    def _defaults_fit(cls, models: Mapping[Model, ModelSettings]) -> Mapping[Model, ModelSettings]:
        problems = [
            f"{model}.defaults.{quality}.{problem}"
            for model, chosen in models.items()
            for quality, defaults in chosen.defaults.items()
            for problem in defaults.misplaced(model)
        ]
        if problems:
            raise ProblemsError(problems)
        return models

    @property
    def enabled_models(self) -> Mapping[Model, ModelSettings]:
        """The models that this worker serves."""
        if self.worker_type == "all":
            return {model: chosen for model, chosen in self.models.items() if chosen.enabled}
        return {Model(self.worker_type): self.models[Model(self.worker_type)]}


_KNOWN_NAMES: Mapping[str, tuple[str, str]] = {
    "DATABASE_URL": ("database", "dsn"),
    "SUPABASE_URL": ("supabase", "url"),
    "SUPABASE_ANON_KEY": ("supabase", "key"),
    "SUPABASE_SERVICE_KEY": ("supabase", "key"),
    "SUPABASE_SERVICE_ROLE_KEY": ("supabase", "key"),
    "SUPABASE_KEY": ("supabase", "key"),
    "SUPABASE_WORKER_TOKEN": ("supabase", "token"),
    "WORKER_API_KEY": ("server", "api_key"),
}
"""Environment names without the prefix; the last one that is set wins."""


class Layer(NamedTuple):
    """What one source says: `default`, `file`, `environment` or `command line`."""

    source: str
    values: Mapping[str, Any]
    name: str = ""
    """The file's path."""


def read_layers(
    config: Path | None, overrides: Mapping[str, Any] | None = None
) -> tuple[list[Layer], list[str]]:
    """Read all sources, the weakest first; return also what can't be read, a line each."""
    found, problems = [Layer("default", {"models": _DEFAULT_MODELS})], []
    if config is not None:
        try:
            found.append(Layer("file", tomllib.loads(config.read_text()), str(config)))
        except (OSError, ValueError) as error:
            problems.append(f"{config}: {error}")
    try:
        found.append(Layer("credential", _secrets(), os.environ.get(VARIABLE, "")))
    except SecretFilesError as error:
        problems.append(str(error))
    environment, unreadable = _environment()
    found += [Layer("environment", _known(os.environ)), Layer("environment", environment)]
    return [*found, Layer("command line", overrides or {})], problems + unreadable


def load_settings(
    config: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read the TOML file, secret files, the environment, and `overrides` (the command line).

    Weakest first.

    Raises:
        SettingsError: with one line for each thing that is wrong.
    """
    from daemon.setting_problems import lines_of, unknown_variables

    found, problems = read_layers(config, overrides)
    problems += unknown_variables(os.environ)
    given: dict[str, Any] = {}
    for layer in found:
        given = merged(given, layer.values)
    settings = None
    try:
        settings = Settings(**given)
    except ValidationError as error:
        problems += lines_of(error)
    if problems or settings is None:
        raise SettingsError("\n".join(problems))
    return settings


def variables_of(path: str) -> tuple[str, ...]:
    """Return the names of a setting in the environment, the strongest first."""
    short = [name for name, known in _KNOWN_NAMES.items() if ".".join(known) == path]
    return (f"OURVIDZ_{path.replace('.', '__').upper()}", *reversed(short))


def _secrets() -> dict[str, Any]:
    if not (folder := os.environ.get(VARIABLE)):
        return {}
    path = Path(folder)
    return merged(_known(plain_values(path)), nested_values(path, Settings))


def _known(values: Mapping[str, str]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for name, (section, key) in _KNOWN_NAMES.items():
        if values.get(name):
            known = merged(known, {section: {key: values[name]}})
    return known


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `under` with `over` laid on it, mapping by mapping."""
    result = dict(under)
    for key, value in over.items():
        beneath = result.get(key)
        if isinstance(beneath, Mapping) and isinstance(value, Mapping):
            result[key] = merged(beneath, value)
        else:
            result[key] = value
    return result


def _environment() -> tuple[dict[str, Any], list[str]]:
    """Return what the prefixed variables say, and a line for each that can't be read."""
    source = EnvSettingsSource(Settings)
    problems: list[str] = []
    while True:
        try:
            return source(), problems
        except UnreadableVariableError as error:
            # It names the field, and never the value.
            found = re.search(r'field "(\w+)"', str(error))
            name = f"ourvidz_{found[1] if found else ''}"
            if name not in source.env_vars:
                raise SettingsError(str(error)) from error
            source.env_vars = {key: value for key, value in source.env_vars.items() if key != name}
            problems.append(f"{name.removeprefix('ourvidz_')}: {name.upper()} is not valid JSON")
