"""The one root: starts everything, nests lifetimes, and stops in the opposite order.

    side server                  answers /health from the first moment
      identity                   the name is ours on this host
        services                 leases, progress, outbox, wake-ups, telemetry
          engine pool
            executor             owns the jobs
              intake             claims, until the worker is told to stop

A service never returns and a job's coroutine never raises; when a service raises all the same, the
jobs are released and the process ends with an error, for its supervisor to start it again.
"""

import asyncio
import gc
import importlib
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from daemon.credentials import watch_expiry
from daemon.devices import find_devices
from daemon.feed import Feed
from daemon.identity import identity
from daemon.model_specs import classes_of
from daemon.outside import missing_libraries, outside
from daemon.preflight import problems
from daemon.reporting import DaemonReports
from daemon.sections import GIB
from daemon.server.app import build_app
from daemon.server.events import EventStreams
from daemon.server.inference import inference_routes
from daemon.server.reports import Phase
from daemon.server.service import BindError, SideServer, bind_host
from daemon.settings import Settings
from daemon.startup import StartupError
from daemon.stopping import Stopping
from daemon.telemetry import logs
from daemon.telemetry.gpu import GpuMonitor, GpuSample
from daemon.telemetry.host import Host, HostSample
from daemon.telemetry.metrics import Metrics
from daemon.telemetry.redaction import register_secret
from daemon.telemetry.sampling import Sampler
from daemon.telemetry.systemd import Systemd
from daemon.values import SchemaMismatchError, StoreRejectedError, StoreUnavailableError

if TYPE_CHECKING:
    from daemon.parts import Parts

_log = logging.getLogger("daemon")

Ready = Callable[[int], None]
"""Called with the side server's port when jobs are taken."""

QUEUE_COUNT_S = 5.0
"""Seconds between two counts of the queue."""

GC_THRESHOLD = 50_000
"""Objects that are made before the collector looks at them, instead of 700."""

MAX_GPUS = 16
"""GPUs of one host whose memory is watched."""

OUTBOX_DRAIN_S = 5.0
"""Seconds for the last outcomes to be recorded."""


async def run(settings: Settings, on_ready: Ready | None = None) -> None:
    """Run the worker until SIGINT or SIGTERM; a second signal skips the grace.

    Raises:
        StartupError: with a message for the operator.
    """
    _configure_logs(settings)
    if found := [*problems(settings), *missing_libraries(settings)]:
        raise StartupError("\n".join(found))
    this = version("ourvidz-worker")
    metrics = Metrics()
    metrics.started(settings.worker_type, this, time.time())
    reports = DaemonReports(settings, metrics, this)
    key = settings.server.api_key.get_secret_value() if settings.server.api_key else None
    feed = Feed()
    streams = EventStreams(feed, counted=metrics.live.streams)
    routes = [*streams.routes(), *inference_routes(settings, reports.answering)]
    app = build_app(reports, api_key=key, routes=routes)
    app.on_shutdown.append(streams.stop)
    stopping = Stopping()
    try:
        async with SideServer(app, bind_host(settings.server), settings.server.port) as server:
            with stopping.signals():
                await _work(reports, feed, stopping, server.port, on_ready)
    except BindError as error:
        raise StartupError(str(error)) from error


def _configure_logs(settings: Settings) -> None:
    logs.configure(settings.log.level, settings.log.format, prompts=settings.log.prompts)
    supabase = settings.supabase
    secrets = (
        settings.database.dsn, supabase.key, supabase.token, settings.server.api_key,
        settings.mqtt.password, *settings.tracing.headers.values(),
    )  # fmt: skip
    for secret in secrets:
        if secret is not None:
            register_secret(secret.get_secret_value())


async def _work(
    reports: DaemonReports, feed: Feed, stopping: Stopping, port: int, on_ready: Ready | None
) -> None:
    settings = reports.settings
    # Half of the imports' time is the parts': in a thread, so that /health answers meanwhile.
    composition = await asyncio.to_thread(importlib.import_module, "daemon.building")
    with identity(settings.worker_name, port, settings.state_dir) as worker:
        reports.worker_id = worker.worker_id
        systemd = Systemd.from_environment()
        systemd.status("waiting for the database")
        # NVML blocks, and for long where a driver is ill.
        devices = await asyncio.to_thread(find_devices, settings)
        onlookers = outside(reports, worker, stopping)
        parts: Parts = composition.build(
            settings, worker, devices, reports.metrics, feed, onlookers
        )
        try:
            await _check(parts, reports, stopping)
            if not stopping.soft.is_set():
                await _serve_schema(
                    parts, reports, stopping, systemd, lambda: on_ready and on_ready(port)
                )
        finally:
            await parts.aclose()


async def _check(parts: "Parts", reports: DaemonReports, stopping: Stopping) -> None:
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


async def _serve_schema(
    parts: "Parts",
    reports: DaemonReports,
    stopping: Stopping,
    systemd: Systemd,
    on_ready: Callable[[], object],
) -> None:
    """Serve, for as long as the database has this worker's schema.

    Raises:
        StartupError: somebody migrated it under the running worker.
    """
    try:
        await _serve(parts, reports, stopping, systemd, on_ready)
    except BaseExceptionGroup as errors:
        mismatch = errors.subgroup(SchemaMismatchError)
        if mismatch is None:
            raise
        raise StartupError(str(_first(mismatch))) from errors


def _first(errors: BaseException) -> BaseException:
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors


async def _serve(
    parts: "Parts",
    reports: DaemonReports,
    stopping: Stopping,
    systemd: Systemd,
    on_ready: Callable[[], object],
) -> None:
    stopping.on_soft(parts.intake.wake.set)
    stopping.on_soft(parts.admissions.drain)
    stopping.on_soft(parts.answering.drain)
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(service)
            for service in (*parts.services(), *_telemetry(parts, reports, systemd))
        ]
        async with parts.pool:
            async with parts.executor.stopping_hard_at(stopping.hard):
                reports.parts, reports.phase = parts, Phase.SERVING
                _settle_memory()
                systemd.ready("taking jobs")
                _log.info("taking jobs: %s", ", ".join(reports.settings.enabled_models))
                on_ready()
                await parts.intake.run_until(stopping.soft)
                reports.phase = Phase.DRAINING
                systemd.stopping("draining")
                _log.info("stopping: taking no more jobs")
            await parts.outbox.drain(OUTBOX_DRAIN_S)
        for service in running:
            service.cancel()


def _telemetry(
    parts: "Parts", reports: DaemonReports, systemd: Systemd
) -> list[Coroutine[Any, Any, None]]:
    metrics = reports.metrics

    def gpus_sampled(samples: Sequence[GpuSample]) -> None:
        reports.gpus = samples
        metrics.gpus(samples)
        if reports.settings.device.simulate_gb is None:
            for sample in samples:
                if sample.memory_used is not None:
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
        systemd.feed_watchdog(),
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
            reports.metrics.queue_counted(reports.queue)
            parts.admissions.count_unclaimed(classes_of(reports.queue))
        await asyncio.sleep(QUEUE_COUNT_S)
