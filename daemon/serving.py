"""What runs while jobs are taken: services outside, then the engines, the executor, and intake.

    services                   leases, progress, outbox, wake-ups, telemetry
      engine pool
        executor               owns the jobs
          intake               claims, until the worker is told to stop

A service never returns and a job's coroutine never raises; when a service raises all the same, the
jobs are released and the process ends with an error, for its supervisor to start it again.
"""

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from daemon.credentials import watch_expiry
from daemon.model_specs import classes_of
from daemon.reloading import Reloader
from daemon.reporting import DaemonReports
from daemon.scheduling.models import DeviceSpec
from daemon.sections import GIB
from daemon.server.reports import Phase
from daemon.settings import Settings
from daemon.startup import NotYetError, StartupError
from daemon.stopping import Stopping
from daemon.telemetry.gpu import GpuMonitor, GpuSample
from daemon.telemetry.host import Host, HostSample
from daemon.telemetry.loop_lag import LoopLag
from daemon.telemetry.sampling import Sampler
from daemon.values import SchemaMismatchError, StoreRejectedError, StoreUnavailableError

if TYPE_CHECKING:
    from daemon.parts import Parts

_log = logging.getLogger("daemon")

QUEUE_COUNT_S = 5.0
"""Seconds between two counts of the queue."""

GC_THRESHOLD = 50_000
"""Objects that are made before the collector looks at them, instead of 700."""

MAX_GPUS = 16
"""GPUs of one host whose memory is watched."""

OUTBOX_DRAIN_S = 5.0
"""Seconds for the last outcomes to be recorded."""


async def check(parts: "Parts", reports: DaemonReports, stopping: Stopping) -> None:
    """Wait for the database, and refuse to start on what waiting doesn't mend."""
    schema = asyncio.create_task(parts.await_schema(), name="check schema")
    stopped = asyncio.create_task(stopping.soft.wait(), name="wait for a signal")
    reports.starting = "the database has not answered yet"
    await asyncio.wait({schema, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not schema.done():
        schema.cancel()
        return
    schema.result()
    reports.starting = "the artifact store has not answered yet"
    if found := await parts.check_artifacts():
        raise StartupError("\n".join(found))


def _settle_memory() -> None:
    """Keep what is built for good out of the collector's rounds, and make those rarer.

    Jobs leave few cycles behind; in a drain of no-op jobs the collector took a tenth of the time.
    """
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 50, 100)


async def serve(
    parts: "Parts",
    reports: DaemonReports,
    reloader: Reloader,
    on_ready: Callable[[], object],
) -> None:
    """Serve, for as long as the database has this worker's schema.

    Raises:
        NotYetError: somebody migrated it under the running worker.
    """
    try:
        await _work(parts, reports, reloader, on_ready)
    except BaseExceptionGroup as errors:
        mismatch = errors.subgroup(SchemaMismatchError)
        if mismatch is None:
            raise
        # The version that fits may be installed by now.
        raise NotYetError(str(_first(mismatch))) from errors


def _first(errors: BaseException) -> BaseException:
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors


async def _work(
    parts: "Parts",
    reports: DaemonReports,
    reloader: Reloader,
    on_ready: Callable[[], object],
) -> None:
    stopping = reloader.stopping
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(service)
            for service in (*parts.services(), *_telemetry(parts, reports, reloader.devices))
        ]
        async with parts.pool:
            reloader.adopt(parts)
            async with parts.executor.stopping_hard_at(stopping.hard):
                reports.parts, reports.phase = parts, Phase.SERVING
                _settle_memory()
                reloader.taking_jobs()
                _log.info("taking jobs: %s", ", ".join(reports.settings.enabled_models))
                on_ready()
                await reloader.claim(parts)
                reports.phase = Phase.DRAINING
                if reloader.rebuilding:
                    await parts.executor.finish_held(stopping.soft)
                if stopping.soft.is_set():
                    _log.info("stopping: taking no more jobs")
            await parts.outbox.drain(OUTBOX_DRAIN_S)
            if reloader.rebuilding:
                await reloader.keep_engines(parts)
        for service in running:
            service.cancel()


def _telemetry(
    parts: "Parts", reports: DaemonReports, devices: Sequence[DeviceSpec]
) -> list[Coroutine[Any, Any, None]]:
    metrics = reports.metrics
    # A GPU that comes later is taken up by a start or a reload.
    known = {device.index for device in devices}

    def gpus_sampled(samples: Sequence[GpuSample]) -> None:
        reports.gpus = samples
        metrics.gpus(samples)
        if reports.settings.device.simulate_gb is None:
            for sample in samples:
                if sample.memory_used is not None and sample.index in known:
                    parts.admissions.used_by_others(sample.index, sample.memory_used)

    def host_sampled(sample: HostSample | None) -> None:
        reports.host = sample
        if sample is not None:
            metrics.host(sample)

    credentials = reports.settings.supabase.credentials
    return [
        *([watch_expiry(credentials)] if credentials else []),
        GpuMonitor(limits=_memory_limits(reports.settings), on_sample=gpus_sampled).run(),
        Sampler("host", Host(reports.settings.state_dir), on_sample=host_sampled).run(),
        _count_queue(parts, reports),
        LoopLag(metrics.loop_lagged).run(),
    ]


def _memory_limits(settings: Settings) -> list[int]:
    """Return above how many bytes a GPU holds more than this worker's models may take."""
    budgets = sum(model.budget_gb for model in settings.enabled_models.values())
    return [int(budgets * GIB)] * MAX_GPUS


async def _count_queue(parts: "Parts", reports: DaemonReports) -> None:
    while True:
        try:
            reports.queue = await parts.store.queue_summary()
        except (StoreUnavailableError, StoreRejectedError):
            reports.queue = None  # an old count would be shown as a fresh one
        else:
            parts.admissions.count_unclaimed(classes_of(reports.queue))
        reports.metrics.queue_counted(reports.queue)
        await asyncio.sleep(QUEUE_COUNT_S)
