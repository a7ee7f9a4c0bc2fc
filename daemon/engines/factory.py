"""Which engine a model gets, from the settings."""

import os
from collections.abc import Callable
from pathlib import Path

import structlog

from daemon.engine_ports import Engine, EngineFactory
from daemon.engines.inline import InlineEngine
from daemon.engines.limits import EngineLimits, HealthLimits
from daemon.engines.options import EngineOptions, of_runner
from daemon.engines.process import EngineProcess
from daemon.engines.surroundings import engine_environment
from daemon.job_types import Model
from daemon.sections import GIB, ModelSettings
from daemon.settings import Settings
from handlers.base import ModelSpec

_log = structlog.get_logger("daemon.engines")

LineLog = Callable[[str, str], None]
"""Takes a model's name and one line that its engine wrote."""


def engine_factory(settings: Settings, log: LineLog | None = None) -> EngineFactory:
    """Return what makes engines by the settings."""
    log = log or _log_line

    def make(model: str, device: int) -> Engine:
        family = Model(model)
        return _engine(family, settings.models[family], device, log)

    return make


def _engine(model: Model, settings: ModelSettings, device: int, log: LineLog) -> Engine:
    options = EngineOptions.model_validate(dict(settings.options))
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
        options=of_runner(settings.options),
        budget_bytes=int(settings.budget_gb * GIB),
    )


def _log_line(model: str, line: str) -> None:
    _log.info("engine output", model=model, line=line)
