"""The composition: what stands behind each port, built from the settings. `app` runs it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from daemon.answering import Answering, Connected
from daemon.artifacts.inline import InlineArtifacts
from daemon.building_gpu import GpuParts, build_gpu
from daemon.charging import Charging
from daemon.connections import make_artifacts, make_broadcaster, make_sources, make_store
from daemon.enhancement import Enhancement, Preparing
from daemon.execution import Execution
from daemon.executor import Executor
from daemon.feed import Feed
from daemon.foretelling import Foreteller
from daemon.intake import Intake
from daemon.job_run import JobRun
from daemon.job_types import Model
from daemon.leases import Leases
from daemon.model_specs import job_types_of, specs_from
from daemon.observed import ObservedStore
from daemon.observed_artifacts import ObservedArtifacts
from daemon.outside import Outside, Watcher
from daemon.parts import Parts
from daemon.progress import ProgressWriter
from daemon.quarantine import Quarantine
from daemon.queue_telling import QueueTeller
from daemon.resolving import resolver
from daemon.run_events import RunEvents
from daemon.scheduling.models import DeviceSpec
from daemon.settings import Settings
from daemon.store.outbox import Outbox
from daemon.telemetry.metrics import Metrics
from daemon.values import WorkerIdentity
from daemon.wakeups.proof import ProofOfLife, ProofTimes, ProvableSource
from daemon.wakeups.sweep import SweepTimer


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
    return _Composition(settings, worker, devices, metrics, feed, outside).parts()


@dataclass
class _Composition:
    """What is given, and each part once, made of others when it is first asked for."""

    settings: Settings
    worker: WorkerIdentity
    devices: tuple[DeviceSpec, ...]
    metrics: Metrics
    feed: Feed
    outside: Outside
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    runs: dict[str, JobRun] = field(default_factory=dict)

    def parts(self) -> Parts:
        """Return all parts."""
        admissions = self.gpu.admissions
        admissions.demand_changed = self.wake.set
        return Parts(
            store=self.store,
            artifacts=self.execution.artifacts,
            pool=self.gpu.pool,
            admissions=admissions,
            leases=self.leases,
            progress=self.progress,
            outbox=self.outbox,
            executor=self.executor,
            answering=_answering(self.settings, self.executor, self.events, self.outside.watchers),
            intake=self.intake,
            sources=self.sources,
            proof=self.proof,
            sweeps=self.sweeps,
            foreteller=self.foreteller,
            queue_teller=self._queue_teller(),
            charging=Charging(admissions.take_charges, self.store.charge),
            broadcaster=make_broadcaster(self.settings, self.feed, self.metrics.live),
            outside=self.outside,
            learner=self.gpu.learner,
        )

    @cached_property
    def store(self) -> ObservedStore:
        return ObservedStore(make_store(self.settings), self.metrics.store_call)

    @cached_property
    def gpu(self) -> GpuParts:
        return build_gpu(self.settings, self.devices, self.metrics, self.runs)

    @cached_property
    def leases(self) -> Leases:
        return _leases(self.settings, self.metrics)

    @cached_property
    def progress(self) -> ProgressWriter:
        return ProgressWriter(self.store, self.leases.apply)

    @cached_property
    def outbox(self) -> Outbox:
        return Outbox(self.store)

    @cached_property
    def foreteller(self) -> Foreteller:
        admissions = self.gpu.admissions
        return Foreteller(
            admissions.forecast,
            self.runs,
            self.progress.report,
            admissions.time,
            lambda: admissions.backlog,
        )

    @cached_property
    def events(self) -> RunEvents:
        return _events(self.metrics, self.foreteller, [self.feed, *self.outside.watchers])

    @cached_property
    def company(self) -> Preparing:
        return Preparing(Quarantine(self.gpu.admissions))

    @cached_property
    def execution(self) -> Execution:
        settings, loop = self.settings, asyncio.get_running_loop()
        has_chat = Model.CHAT in settings.enabled_models
        return Execution(
            resolve=resolver(settings),
            leases=self.leases,
            admissions=self.company,
            artifacts=ObservedArtifacts(make_artifacts(settings), self.metrics.artifacts),
            progress=self.progress,
            recorder=self.outbox,
            events=self.events,
            enhancement=Enhancement(self.company, settings.enhance, available=has_chat),
            look_again_in=lambda seconds: loop.call_later(seconds, self.wake.set),
        )

    @cached_property
    def executor(self) -> Executor:
        settings = self.settings
        return Executor(
            self.execution, settings.max_held, settings.stop, freed=self.wake.set, runs=self.runs
        )

    @cached_property
    def sources(self) -> list[ProvableSource]:
        return make_sources(self.settings)

    @cached_property
    def proof(self) -> ProofOfLife:
        return ProofOfLife(self.store.beat_canary, self.sources, _times(self.settings))

    @cached_property
    def sweeps(self) -> SweepTimer:
        return _sweep_timer(self.settings, self.proof)

    @cached_property
    def intake(self) -> Intake:
        return Intake(
            store=self.store,
            worker=self.worker,
            demand=self.company.demand,
            starter=self.executor,
            sweeps=self.sweeps,
            lease_s=self.settings.leases.duration_s,
            events=self.events,
            found=self.proof.found,
            wake=self.wake,
        )

    def _queue_teller(self) -> QueueTeller | None:
        if not self.settings.live.queued_ends:
            return None
        return QueueTeller(
            store=self.store,
            worker_id=self.worker.worker_id,
            foreteller=self.foreteller,
            job_types=job_types_of(specs_from(self.settings.enabled_models)),
            takes_jobs=lambda: not (self.executor.stopping or self.intake.paused),
            clock=self.foreteller.clock,
        )


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


def _times(settings: Settings) -> ProofTimes:
    wakeups = settings.wakeups
    return ProofTimes(interval_s=wakeups.canary_interval_s, within_s=wakeups.canary_within_s)


def _sweep_timer(settings: Settings, proof: ProofOfLife) -> SweepTimer:
    return SweepTimer(
        settings.wakeups.sweep_interval_s,
        settings.wakeups.sweep_interval_blind_s,
        any_proven=proof.any_proven,
    )
