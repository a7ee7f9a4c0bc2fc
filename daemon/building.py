"""The composition: what stands behind each port, built from the settings. `app` runs it."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from daemon.admission import GpuAdmissions
from daemon.answering import Answering, Connected
from daemon.artifacts.inline import InlineArtifacts
from daemon.connections import make_artifacts, make_broadcaster, make_sources, make_store
from daemon.engine_events import EngineEvents
from daemon.engines.factory import LineLog, engine_factory
from daemon.engines.memory_back import AtOnce, DriverMemory, MemoryBack
from daemon.engines.pool import EnginePool
from daemon.engines.telling import run_of_line
from daemon.enhancement import Enhancement, Preparing
from daemon.execution import Execution
from daemon.executor import Executor
from daemon.feed import Feed
from daemon.foretelling import Foreteller
from daemon.intake import Intake
from daemon.job_run import JobRun
from daemon.job_types import Model
from daemon.leases import Leases
from daemon.model_specs import host_bytes_of, specs_from
from daemon.observed import ObservedStore
from daemon.observed_artifacts import ObservedArtifacts
from daemon.outside import Outside, Watcher
from daemon.parts import Parts
from daemon.progress import ProgressWriter
from daemon.quarantine import Quarantine
from daemon.resolving import resolver
from daemon.run_events import RunEvents
from daemon.scheduling.figures import Learner
from daemon.scheduling.models import DeviceSpec, check_fits
from daemon.scheduling.scheduler import Scheduler
from daemon.settings import Settings
from daemon.startup import StartupError
from daemon.store.outbox import Outbox
from daemon.telemetry import context
from daemon.telemetry.gpu import UsedMemory
from daemon.telemetry.host import available_memory
from daemon.telemetry.metrics import Metrics
from daemon.values import WorkerIdentity
from daemon.wakeups.proof import ProofOfLife, ProofTimes
from daemon.wakeups.sweep import SweepTimer

_log = structlog.get_logger("daemon.building")
_stdlib_log = logging.getLogger("daemon.building")


def build(
    settings: Settings,
    worker: WorkerIdentity,
    devices: tuple[DeviceSpec, ...],
    metrics: Metrics,
    feed: Feed,
    outside: Outside,
) -> Parts:
    """Build the parts; nothing is connected or started yet. `outside` hears of all runs.

    Raises:
        StartupError: models and devices don't go together, or there is no device.
    """
    loop, watchers = asyncio.get_running_loop(), outside.watchers
    store = ObservedStore(make_store(settings), metrics.store_call)
    runs: dict[str, JobRun] = {}
    pool, admissions, learner = _gpu(settings, devices, metrics, _lines_with(runs))
    leases = _leases(settings, metrics)
    progress = ProgressWriter(store, leases.apply)
    foreteller = Foreteller(admissions.forecast, runs, progress.report, admissions.time)
    events = _events(metrics, foreteller, [feed, *watchers])
    company, wake = Preparing(Quarantine(admissions)), asyncio.Event()
    has_chat = Model.CHAT in settings.enabled_models
    execution = Execution(
        resolve=resolver(settings),
        leases=leases,
        admissions=company,
        artifacts=ObservedArtifacts(make_artifacts(settings), metrics.artifacts),
        progress=progress,
        recorder=(outbox := Outbox(store)),
        events=events,
        enhancement=Enhancement(company, settings.enhance, available=has_chat),
        look_again_in=lambda seconds: loop.call_later(seconds, wake.set),
    )
    executor = Executor(execution, settings.max_held, settings.stop, freed=wake.set, runs=runs)
    proof = ProofOfLife(store.beat_canary, sources := make_sources(settings), _times(settings))
    intake = Intake(
        store=store,
        worker=worker,
        demand=company.demand,
        starter=executor,
        sweeps=(sweeps := _sweep_timer(settings, proof)),
        lease_s=settings.leases.duration_s,
        events=events,
        found=proof.found,
        wake=wake,
    )
    admissions.demand_changed = wake.set
    return Parts(
        store, execution.artifacts, pool, admissions, leases, progress, outbox, executor,
        _answering(settings, executor, events, watchers), intake, sources, proof, sweeps,
        foreteller, make_broadcaster(settings, feed, metrics.live), outside, learner,
    )  # fmt: skip


def _events(
    metrics: Metrics, foreteller: Foreteller, watchers: Sequence[Watcher | Feed]
) -> RunEvents:
    return RunEvents(
        metrics,
        foreteller,
        onlookers=[each.stepped for each in watchers],
        enders=[each.ended for each in watchers],
    )


def _leases(settings: Settings, metrics: Metrics) -> Leases:
    def make() -> ObservedStore:
        return ObservedStore(make_store(settings, pool_size=1), metrics.store_call)

    return Leases(make, settings.leases)


def _answering(
    settings: Settings, executor: Executor, events: RunEvents, watchers: Sequence[Watcher]
) -> Answering:
    """Return who answers requests: in the rows' way, but for lease, row and feed."""
    answering = Answering(executor, settings.server.max_requests)
    rows, connected = executor.execution, Connected()
    answering.carried_by(
        replace(
            rows,
            leases=connected,
            artifacts=InlineArtifacts(rows.artifacts, answering.is_inline),
            progress=connected,
            recorder=answering,
            events=replace(
                events,
                onlookers=[answering.stepped, *(each.stepped for each in watchers)],
                enders=[each.ended for each in watchers],
            ),
            look_again_in=lambda _: None,
            interactive=True,
        )
    )
    return answering


def _gpu(
    settings: Settings, devices: tuple[DeviceSpec, ...], metrics: Metrics, said: LineLog
) -> tuple[EnginePool, GpuAdmissions, Learner]:
    specs = specs_from(settings.enabled_models)
    if misfits := check_fits(specs, devices):
        raise StartupError("\n".join(misfits))
    pool = EnginePool(engine_factory(settings, said), memory_back=_memory_back(settings))
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
    return pool, admissions, Learner(scheduler.state)


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


def _times(settings: Settings) -> ProofTimes:
    wakeups = settings.wakeups
    return ProofTimes(interval_s=wakeups.canary_interval_s, within_s=wakeups.canary_within_s)


def _sweep_timer(settings: Settings, proof: ProofOfLife) -> SweepTimer:
    return SweepTimer(
        settings.wakeups.sweep_interval_s,
        settings.wakeups.sweep_interval_blind_s,
        any_proven=proof.any_proven,
    )


def _lines_with(runs: Mapping[str, JobRun]) -> LineLog:
    """Return what logs engines' lines, each as one of the job that it is about."""

    def said(model: str, line: str) -> None:
        # A library's chatter is for those who look for it.
        if _stdlib_log.isEnabledFor(logging.DEBUG):
            run_id, line = run_of_line(line)
            with context.lines_of(runs.get(run_id) if run_id else None):
                _log.debug("engine", model=model, line=line)

    return said
