"""Which engine a model gets, from the settings."""

import os
from collections.abc import Callable
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from daemon.engines.inline import InlineEngine
from daemon.engines.limits import EngineLimits, HealthLimits
from daemon.engines.process import EngineProcess
from daemon.engines.surroundings import engine_environment
from daemon.job_types import Model
from daemon.ports import Engine, EngineFactory
from daemon.sections import ModelSettings
from daemon.settings import Settings, SettingsError
from handlers.base import ModelSpec

_log = structlog.get_logger("daemon.engines")

LineLog = Callable[[str, str], None]
"""Takes a model's name and one line that its engine wrote."""


class EngineOptions(BaseModel):
    """Those of a model's `options` that steer its process; the runner gets all of them.

    Attributes:
        load_timeout_s: seconds to start and load, and for weights to move to the host or back.
        cancel_timeout_s: seconds in which a cancelled run must stop, else the engine is killed.
        hang_floor_s: no run is taken for hung before so many seconds without a step.
        hang_factor: nor before so many times its handler's longest gap between two steps.
        ping_every_s: seconds between two pings of an engine.
        ping_within_s: seconds in which it must answer one, else it is killed.
        offline: never ask a model hub, nor pass its token on.
        omp_threads: threads of CPU kernels; None leaves the libraries' choice.
        inline: run in the daemon's process; for the `fake` runner only.
        threads: inline runs get threads; False: they go on the event loop.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    load_timeout_s: float = Field(default=900.0, gt=0)
    cancel_timeout_s: float = Field(default=60.0, gt=0)
    hang_floor_s: float = Field(default=120.0, gt=0)
    hang_factor: float = Field(default=10.0, ge=1)
    ping_every_s: float = Field(default=10.0, gt=0)
    ping_within_s: float = Field(default=60.0, gt=0)
    offline: bool = True
    omp_threads: int | None = Field(default=None, ge=1)
    inline: bool = False
    threads: bool = True


def engine_factory(settings: Settings, log: LineLog | None = None) -> EngineFactory:
    """Return what makes engines by the settings.

    Raises:
        SettingsError: an option of a model's engine is wrong; told at start, not at the first job.
    """
    log = log or _log_line
    options = {model: _options(model, chosen) for model, chosen in settings.models.items()}

    def make(model: str, device: int) -> Engine:
        family = Model(model)
        return _engine(family, settings.models[family], options[family], device, log)

    return make


def _options(model: Model, settings: ModelSettings) -> EngineOptions:
    try:
        return EngineOptions.model_validate(dict(settings.options))
    except ValidationError as error:
        problems = [
            f"models.{model}.options.{'.'.join(map(str, each['loc']))}: {each['msg']}"
            for each in error.errors()
        ]
        raise SettingsError("\n".join(problems)) from None


def _engine(
    model: Model, settings: ModelSettings, options: EngineOptions, device: int, log: LineLog
) -> Engine:
    spec = model_spec(model, settings)
    if settings.runner == "fake" and options.inline:
        return InlineEngine(spec, threads=options.threads)
    environment = engine_environment(
        os.environ,
        device=None if settings.device == "cpu" else device,
        offline=options.offline,
        omp_threads=options.omp_threads,
    )
    health = HealthLimits(
        options.hang_floor_s, options.hang_factor, options.ping_every_s, options.ping_within_s
    )
    limits = EngineLimits(options.load_timeout_s, options.cancel_timeout_s, health)
    return EngineProcess(spec, environment, lambda line: log(model.value, line), limits)


def model_spec(model: Model, settings: ModelSettings) -> ModelSpec:
    """Return what an engine is told to load."""
    path = os.path.expanduser(settings.path)  # noqa: PTH111 -- a hub's name is no path: keep it as it is
    return ModelSpec(
        model=model.value,
        name=settings.name or Path(path).name or model.value,
        path=path,
        runner=settings.runner,
        dtype=settings.dtype,
        device=settings.device,
        max_concurrent=settings.max_concurrent,
        options=dict(settings.options),
    )


def _log_line(model: str, line: str) -> None:
    _log.info("engine output", model=model, line=line)
