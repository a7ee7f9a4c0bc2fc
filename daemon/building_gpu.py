"""What stands behind the right to use a GPU: engines, their scheduler, and what it has learned."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from daemon.admission import GpuAdmissions
from daemon.engine_events import EngineEvents
from daemon.engines.factory import LineLog, engine_factory
from daemon.engines.memory_back import AtOnce, DriverMemory, MemoryBack
from daemon.engines.pool import EnginePool
from daemon.engines.telling import run_of_line
from daemon.job_run import JobRun
from daemon.model_specs import host_bytes_of, specs_from
from daemon.scheduling.figures import Learner
from daemon.scheduling.models import DeviceSpec, check_fits
from daemon.scheduling.scheduler import Scheduler
from daemon.settings import Settings
from daemon.startup import StartupError
from daemon.telemetry import context
from daemon.telemetry.gpu import UsedMemory
from daemon.telemetry.host import available_memory
from daemon.telemetry.metrics import Metrics

_log = structlog.get_logger("daemon.building")
_stdlib_log = logging.getLogger("daemon.building")


@dataclass(frozen=True)
class GpuParts:
    """Who owns the engines, who says which run may use them when, and what that one has learned."""

    pool: EnginePool
    admissions: GpuAdmissions
    learner: Learner


def build_gpu(
    settings: Settings,
    devices: tuple[DeviceSpec, ...],
    metrics: Metrics,
    runs: Mapping[str, JobRun],
) -> GpuParts:
    """Build them; no engine is started yet. `runs` says whose line an engine's line is.

    Raises:
        StartupError: models and devices don't go together.
    """
    specs = specs_from(settings.enabled_models)
    if misfits := check_fits(specs, devices):
        raise StartupError("\n".join(misfits))
    pool = EnginePool(
        engine_factory(settings, _lines_with(runs)), memory_back=_memory_back(settings)
    )
    scheduler = Scheduler(
        specs,
        devices,
        max_pass_over_s=settings.max_pass_over_s,
        preload=settings.preload,
        host_bytes=host_bytes_of(settings.device, available_memory()),
    )
    admissions = GpuAdmissions(scheduler, pool, asyncio.get_running_loop())
    events = EngineEvents(admissions, metrics)
    admissions.engine_leaks = events.engine_leaks
    pool.report_to(events)
    return GpuParts(pool, admissions, Learner(scheduler.state))


def _memory_back(settings: Settings) -> MemoryBack:
    """Return who knows when an engine's memory is free: the driver, if the device has one."""
    if settings.device.simulate_gb is not None:
        return AtOnce()
    elsewhere = {
        model.value
        for model, chosen in settings.models.items()
        if chosen.device == "cpu" or chosen.runner == "fake"
    }
    return DriverMemory(UsedMemory(), on_device=lambda model: model not in elsewhere)


def _lines_with(runs: Mapping[str, JobRun]) -> LineLog:
    """Return what logs engines' lines, each as one of the job that it is about."""

    def said(model: str, line: str) -> None:
        # A library's chatter is for those who look for it.
        if _stdlib_log.isEnabledFor(logging.DEBUG):
            run_id, line = run_of_line(line)
            with context.lines_of(runs.get(run_id) if run_id else None):
                _log.debug("engine", model=model, line=line)

    return said
