"""Frozen settings from a TOML file and the environment, with all errors reported at once.

The environment wins over the file. Names in the environment are `OURVIDZ_` and the path with two
underscores: `OURVIDZ_SERVER__PORT=7861`. The names that `worker-api.md` fixes (`SUPABASE_URL`,
`SUPABASE_SERVICE_ROLE_KEY`, `WORKER_API_KEY`) and a few usual ones work as they are: see
`_KNOWN_NAMES`.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from daemon.job_types import Model
from daemon.sections import (
    ArtifactSettings,
    DatabaseSettings,
    DeviceSettings,
    EnhanceSettings,
    LeaseSettings,
    LiveSettings,
    LogSettings,
    ModelSettings,
    MqttSettings,
    Positive,
    ProblemsError,
    ServerSettings,
    StopSettings,
    SupabaseSettings,
    TracingSettings,
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
        """The models that this worker's type serves."""
        if self.worker_type == "all":
            return self.models
        return {Model(self.worker_type): self.models[Model(self.worker_type)]}


_KNOWN_NAMES: Mapping[str, tuple[str, str]] = {
    "DATABASE_URL": ("database", "dsn"),
    "SUPABASE_URL": ("supabase", "url"),
    "SUPABASE_ANON_KEY": ("supabase", "key"),
    "SUPABASE_SERVICE_ROLE_KEY": ("supabase", "key"),
    "SUPABASE_KEY": ("supabase", "key"),
    "SUPABASE_WORKER_TOKEN": ("supabase", "token"),
    "WORKER_API_KEY": ("server", "api_key"),
}
"""Environment names without the prefix; the last one that is set wins."""


def load_settings(
    config: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read the TOML file, the environment, and `overrides` (the command line), weakest first.

    Raises:
        SettingsError: with one line for each thing that is wrong.
    """
    given: dict[str, Any] = {"models": _DEFAULT_MODELS}
    if config is not None:
        try:
            given = merged(given, tomllib.loads(config.read_text()))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{config}: {error}") from error
    known: dict[str, Any] = {}
    for name, (section, key) in _KNOWN_NAMES.items():
        if os.environ.get(name):
            known = merged(known, {section: {key: os.environ[name]}})
    environment = EnvSettingsSource(Settings)()
    given = merged(merged(merged(given, known), environment), overrides or {})
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [line for problem in error.errors() for line in _lines(problem)]
        raise SettingsError("\n".join(lines)) from error


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


def _lines(problem: Any) -> list[str]:
    path = _dotted(problem["loc"])
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, ProblemsError):
        return [f"{path}.{each}" for each in cause.problems]
    return [f"{path}: {problem['msg']}"]


def _dotted(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "settings"
