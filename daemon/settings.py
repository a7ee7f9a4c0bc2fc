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
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from daemon.credentials import Credentials
from daemon.job_types import Model, Quality

GIB = 2**30
"""The unit of every "GB" of memory in `worker-api.md`, as GPU tools show it."""

Positive = Annotated[float, Field(gt=0)]


class SettingsError(Exception):
    """Every problem with the settings, one line each."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseSettings(_Frozen):
    """How the jobs table is reached: directly, or through Supabase's REST interface."""

    dsn: SecretStr | None = None
    """A direct or session-mode connection string; None: through Supabase alone."""
    pool_size: int = Field(default=4, ge=1)
    statement_timeout_s: Positive = 10.0


class SupabaseSettings(_Frozen):
    """The Supabase project: REST, Realtime and Storage."""

    url: str | None = None
    key: SecretStr | None = None
    """One of the project's own keys: the gateway takes no other."""
    token: SecretStr | None = None
    """A JWT with the role `ourvidz_worker`; None: the key itself has the worker's rights."""
    timeout_s: Positive = 10.0

    @property
    def credentials(self) -> Credentials | None:
        """Return the key with its token; None: no project is configured."""
        if self.url is None or self.key is None:
            return None
        token = self.token.get_secret_value() if self.token else None
        return Credentials(self.key.get_secret_value(), token)


class WakeUpSettings(_Frozen):
    """How new rows are heard of; see `docs/wakeups.md`."""

    realtime: bool = True
    listen: bool = True
    broadcast: bool = False
    """Beside `realtime`: the trigger's own messages, on a connection of their own."""
    sweep_interval_s: Positive = 15.0
    """Longest time between two sweeps while a source is connected; jittered by 30 %."""
    sweep_interval_blind_s: Positive = 2.0
    """The same while no source is connected."""
    recycle_after_s: Positive = 21600.0
    """A Realtime connection is replaced after 6 h +-20 %, long before keys' 24 h limit."""


class LeaseSettings(_Frozen):
    """How long a claim holds without being renewed. Seconds."""

    duration_s: Positive = 12.0
    renew_every_s: Positive = 4.0
    margin_s: Positive = 2.0
    """The local trust in a lease ends this long before the lease."""

    @model_validator(mode="after")
    def _leaves_two_tries(self) -> Self:
        if self.renew_every_s * 2 + self.margin_s > self.duration_s:
            raise ValueError(
                f"leases of {self.duration_s:g} s renewed every {self.renew_every_s:g} s leave no "
                f"second try before the margin of {self.margin_s:g} s"
            )
        return self


class ModelSettings(_Frozen):
    """One family's model: where it is, which engine runs it, and its share of the device."""

    path: str = ""
    """A folder or file of weights, or a hub name; a path that doesn't exist fails the load."""
    name: str = ""
    """The name shown in `model_info`; by default the last part of the path."""
    runner: Literal["transformers", "diffusers", "fake"] = "diffusers"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    device: str = "auto"
    """`auto`: cuda where there is one, else cpu."""
    budget_gb: Positive
    weights_gb: Positive
    max_concurrent: int = Field(ge=1)
    footprint_gb: Mapping[Quality, Positive]
    """Whole footprint by quality at the stated concurrency."""
    concurrency: Mapping[Quality, int]
    options: Mapping[str, Any] = {}
    """Passed to the runner as they are."""


_DEFAULT_MODELS: Mapping[str, Mapping[str, Any]] = {
    # Budgets, footprints and concurrency: the tables of the worker's API document. Video's
    # configuration there says 16 GB, but its high quality needs 20. Weights: what its fast
    # quality leaves after the activations of its concurrent runs.
    "chat": {
        "path": "/models/chat/", "name": "Qwen2.5-7B-Instruct",
        "runner": "transformers", "budget_gb": 4,
        "weights_gb": 3.2, "max_concurrent": 8, "footprint_gb": {"fast": 4},
        "concurrency": {"fast": 8},
    },
    "sdxl": {
        "path": "/models/sdxl/", "name": "sdxl", "budget_gb": 12, "weights_gb": 6.6,
        "max_concurrent": 2, "footprint_gb": {"fast": 8, "high": 12},
        "concurrency": {"fast": 2, "high": 1},
    },
    "wan": {
        "path": "/models/wan/", "name": "wan", "budget_gb": 6, "weights_gb": 2.8,
        "max_concurrent": 4, "footprint_gb": {"fast": 4, "high": 6},
        "concurrency": {"fast": 4, "high": 2},
    },
    "video": {
        "path": "/models/video/", "name": "wan-video", "budget_gb": 20, "weights_gb": 12,
        "max_concurrent": 1, "footprint_gb": {"fast": 16, "high": 20},
        "concurrency": {"fast": 1, "high": 1},
    },
}  # fmt: skip


class DeviceSettings(_Frozen):
    """The GPU memory that may be used."""

    simulate_gb: Positive | None = None
    """A simulated device of this size instead of the GPUs; None: ask NVML."""
    reserve_gb: float = Field(default=1.0, ge=0)
    """Kept free for the driver and for fragmentation."""


class ArtifactSettings(_Frozen):
    """Where result files go."""

    kind: Literal["supabase", "local"] = "supabase"
    folder: Path = Path("artifacts")
    """The root of `local` storage."""
    public_url: str = ""
    """`local`: prefix of the URL in results; empty: a file URL."""
    images: str = "ourvidz-images"
    videos: str = "ourvidz-videos"
    thumbnails: str = "ourvidz-thumbnails"
    signed_url_s: Positive = 7 * 24 * 3600.0
    """`supabase`: how long the URL of a file in a private bucket works; its path works longer."""


class ServerSettings(_Frozen):
    """The HTTP side server."""

    host: str | None = None
    """None: all interfaces with a key, loopback without."""
    port: int = Field(default=7861, ge=0, le=65535)
    api_key: SecretStr | None = None


class StopSettings(_Frozen):
    """The two steps of stopping. Seconds."""

    grace_s: float = Field(default=20.0, ge=0)
    """After the first signal: time to finish what runs."""
    release_s: Positive = 10.0
    """After that: time to stop at the next step, and to release."""


class LogSettings(_Frozen):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


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
    artifacts: ArtifactSettings = ArtifactSettings()
    server: ServerSettings = ServerSettings()
    stop: StopSettings = StopSettings()
    log: LogSettings = LogSettings()
    max_pass_over_s: Positive = 60.0
    """The longest that a waiting job may be passed over for a model that is loaded already."""
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
        lines = [f"{_dotted(problem['loc'])}: {problem['msg']}" for problem in error.errors()]
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


def _dotted(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "settings"
