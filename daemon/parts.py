"""The composition: what stands behind each port, built from the settings. `app` runs it."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_random_exponential,
)

from daemon.admission import GpuAdmissions
from daemon.broadcaster import Broadcaster
from daemon.connections import make_artifacts, make_broadcaster, make_sources, make_store
from daemon.engine_events import EngineEvents
from daemon.engines.factory import engine_factory
from daemon.engines.memory_back import AtOnce, DriverMemory, MemoryBack
from daemon.engines.pool import EnginePool
from daemon.enhancement import Enhancement, Preparing
from daemon.execution import Execution
from daemon.executor import Executor
from daemon.feed import Feed
from daemon.foretelling import Foreteller
from daemon.intake import Intake
from daemon.job_run import JobRun
from daemon.job_types import Model
from daemon.jobs import JobError
from daemon.leases import Leases
from daemon.model_specs import host_bytes_of, specs_from
from daemon.observed import ObservedStore
from daemon.observed_artifacts import ObservedArtifacts
from daemon.ports import ArtifactStore, WakeUp
from daemon.progress import ProgressWriter
from daemon.quarantine import Quarantine
from daemon.resolving import resolver
from daemon.run_events import RunEvents
from daemon.scheduling.models import DeviceSpec, check_fits
from daemon.scheduling.scheduler import Scheduler
from daemon.settings import Settings
from daemon.startup import StartupError
from daemon.store.outbox import Outbox
from daemon.telemetry.gpu import UsedMemory
from daemon.telemetry.host import available_memory
from daemon.telemetry.metrics import Metrics
from daemon.values import (
    SchemaMismatchError,
    StoreRejectedError,
    StoreUnavailableError,
    WorkerIdentity,
)
from daemon.wakeups.patience import wake_for
from daemon.wakeups.proof import ProofOfLife, ProofTimes, ProvableSource
from daemon.wakeups.sweep import SweepTimer

_ANY_AGE_S = 3600.0
"""A canary so old is as good as a new one to learn what the database can do."""

_REFUSED = (
    "the database refuses this worker (check SUPABASE_KEY and SUPABASE_WORKER_TOKEN, or "
    "DATABASE_URL; its role needs the rights of ourvidz_worker)"
)

_log = structlog.get_logger("daemon.parts")


@dataclass(frozen=True)
class Parts:
    """Everything that runs, in the order in which it is built."""

    store: ObservedStore
    artifacts: ArtifactStore
    pool: EnginePool
    admissions: GpuAdmissions
    leases: Leases
    progress: ProgressWriter
    outbox: Outbox
    executor: Executor
    intake: Intake
    sources: list[ProvableSource]
    proof: ProofOfLife
    sweeps: SweepTimer
    foreteller: Foreteller
    broadcaster: Broadcaster | None

    def services(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the jobs, until it is cancelled."""
        wake = self.intake.wake
        return [
            self.leases.run(),
            self.progress.run(),
            self.outbox.run(),
            self.sweeps.run(wake),
            self.proof.run(),
            self.foreteller.run(),
            *([self.broadcaster.run()] if self.broadcaster else []),
            *(source.run(self._wake_for(source)) for source in self.sources),
        ]

    def _wake_for(self, source: ProvableSource) -> WakeUp:
        stats = self.intake.stats
        return wake_for(source, self.sources, self.proof, self.intake.wake, lambda: stats.looked_at)

    async def await_schema(self) -> None:
        """Return when the database has this daemon's schema, however long it is away.

        Sources that need what this database doesn't have are dropped.

        Raises:
            StartupError: it has another schema, or refuses the worker.
        """
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailableError),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            before_sleep=_say_waiting,
        ):
            with attempt:
                try:
                    await self.store.check_schema()
                    await self._drop_sources()
                except SchemaMismatchError as error:
                    raise StartupError(str(error)) from error
                except StoreRejectedError as error:
                    raise StartupError(f"{_REFUSED}: {error}") from error

    async def _drop_sources(self) -> None:
        named = {source.name: source for source in self.sources}
        # The first canary of this worker; sources hear the next one.
        if "broadcast" in named and not (await self.store.beat_canary(_ANY_AGE_S)).broadcast:
            self.sources.remove(named["broadcast"])

    async def check_artifacts(self) -> list[str]:
        """Return what would make every upload fail; storage that is only away is no reason."""
        try:
            return await self.artifacts.check()
        except JobError as error:
            _log.warning("artifact store not checked", error=str(error))
            return []

    async def aclose(self) -> None:
        """Close the connections; the last thing of all."""
        await self.artifacts.aclose()
        await self.store.aclose()


def _say_waiting(state: RetryCallState) -> None:
    if state.attempt_number == 1:
        error = state.outcome.exception() if state.outcome else None
        _log.warning("waiting for the database", error=str(error))


def build(
    settings: Settings,
    worker: WorkerIdentity,
    devices: tuple[DeviceSpec, ...],
    metrics: Metrics,
    feed: Feed,
) -> Parts:
    """Build the parts; nothing is connected or started yet.

    Raises:
        StartupError: models and devices don't go together, or there is no device.
    """
    store = ObservedStore(make_store(settings), metrics.store_call)
    artifacts = ObservedArtifacts(make_artifacts(settings), metrics.artifacts)
    pool, admissions = _gpu(settings, devices, metrics)
    leases = Leases(
        lambda: ObservedStore(make_store(settings, pool_size=1), metrics.store_call),
        settings.leases,
    )
    progress = ProgressWriter(store, leases.apply)
    runs: dict[str, JobRun] = {}
    foreteller = Foreteller(admissions.forecast, runs, progress.report, admissions.time)
    events = RunEvents(metrics, foreteller, onlookers=[feed.stepped], enders=[feed.ended])
    outbox = Outbox(store)
    company = Preparing(Quarantine(admissions))
    wake, loop = asyncio.Event(), asyncio.get_running_loop()
    execution = Execution(
        resolve=resolver(settings),
        leases=leases,
        admissions=company,
        artifacts=artifacts,
        progress=progress,
        recorder=outbox,
        events=events,
        enhancement=Enhancement(
            company, settings.enhance, available=Model.CHAT in settings.enabled_models
        ),
        look_again_in=lambda seconds: loop.call_later(seconds, wake.set),
    )
    executor = Executor(execution, settings.max_held, settings.stop, freed=wake.set, runs=runs)
    sources = make_sources(settings)
    proof = ProofOfLife(store.beat_canary, sources, _proof_times(settings))
    sweeps = _sweep_timer(settings, proof)
    intake = Intake(
        store=store,
        worker=worker,
        demand=company.demand,
        starter=executor,
        sweeps=sweeps,
        lease_s=settings.leases.duration_s,
        events=events,
        found=proof.found,
        wake=wake,
    )
    admissions.demand_changed = wake.set
    return Parts(
        store, artifacts, pool, admissions, leases, progress, outbox, executor, intake, sources,
        proof, sweeps, foreteller, make_broadcaster(settings, feed, metrics.live),
    )  # fmt: skip


def _gpu(
    settings: Settings, devices: tuple[DeviceSpec, ...], metrics: Metrics
) -> tuple[EnginePool, GpuAdmissions]:
    specs = specs_from(settings.enabled_models)
    if misfits := check_fits(specs, devices):
        raise StartupError("\n".join(misfits))
    pool = EnginePool(engine_factory(settings, _engine_said), memory_back=_memory_back(settings))
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
    return pool, admissions


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


def _proof_times(settings: Settings) -> ProofTimes:
    wakeups = settings.wakeups
    return ProofTimes(interval_s=wakeups.canary_interval_s, within_s=wakeups.canary_within_s)


def _sweep_timer(settings: Settings, proof: ProofOfLife) -> SweepTimer:
    return SweepTimer(
        settings.wakeups.sweep_interval_s,
        settings.wakeups.sweep_interval_blind_s,
        any_proven=proof.any_proven,
    )


def _engine_said(model: str, line: str) -> None:
    """Log what an engine writes; a library's chatter is for those who look for it."""
    _log.debug("engine", model=model, line=line)
