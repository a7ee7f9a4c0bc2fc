"""The state of one claimed job while this worker holds it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from daemon.job_types import JOB_TYPES
from daemon.jobs import Job, LeaseState, Progress
from daemon.telemetry.context import JobIds, job_fields
from daemon.telemetry.traceparent import Trace, continued
from daemon.values import NO_WAIT, StepReport, Waits

WAITING = "waiting_for_gpu"
LOADING = "loading_model"
"""What a job is said to do before its run begins."""


class Phase(StrEnum):
    """Where a held job is."""

    WAITING = "waiting"
    """For admission: nothing of it runs yet."""
    RUNNING = "running"
    UPLOADING = "uploading"
    FINISHING = "finishing"
    """Its outcome is on its way to the database; it is no longer interrupted."""


class Interruption(StrEnum):
    """Why a job was stopped before its end."""

    LOST = "lost"
    CANCELLED = "cancelled"
    STOPPING = "stopping"


class Interval(NamedTuple):
    """A phase that is over; monotonic seconds."""

    phase: Phase
    start: float
    end: float
    preparing: bool
    """Its prompt was being rewritten."""


_MODELS = {name: each.model.value for name, each in JOB_TYPES.items()}


@dataclass
class JobRun:
    """One job that is held, its phase, and the seconds that each phase took."""

    job: Job
    claimed_at: float
    """When the claim was sent, monotonic seconds."""
    clock: Callable[[], float]
    phase: Phase = Phase.WAITING
    interruption: Interruption | None = None
    timings: dict[str, float] = field(default_factory=dict)
    last_step: str = ""
    percent: int = 0
    open_s: float = 0.0
    """For how long, at the claim, jobs of this type had been in demand."""
    waits: Waits = NO_WAIT
    """Seconds of waiting for the GPU, by reason."""
    asked_at: float | None = None
    """When it first asked for the GPU."""
    ends_at: float | None = None
    """When it is expected to end, monotonic seconds, as the forecast has it."""
    direct: bool = False
    """Somebody waits for its answer, and it has no row."""
    traceparent: str = ""
    """What the request that asks for it came with."""
    preparing: bool = False
    """Its prompt is being rewritten: it hasn't asked for its own model yet."""
    intervals: list[Interval] = field(default_factory=list)
    """The phases that are over, one after another."""
    grants: list[tuple[float, Waits]] = field(default_factory=list)
    """When it was given the GPU or refused, monotonic seconds, and what it had waited for."""
    _trace: Trace | None = None
    _ids: JobIds | None = None
    _carrier: asyncio.Task[None] | None = None
    _asking: Callable[[], Waits] | None = None
    _since: float = 0.0
    _preparing: bool = False
    _begun: bool = False

    def __post_init__(self) -> None:
        self._since = self.claimed_at

    @property
    def trace(self) -> Trace:
        """Where it stands in a trace: its sender's, or its own."""
        if self._trace is None:
            self._trace = continued(self.job.id, self.traceparent, self._given_traceparent)
        return self._trace

    @property
    def _given_traceparent(self) -> Any:
        request = self.job.request
        return request.get("traceparent") if isinstance(request, dict) else None

    def log_ids(self) -> JobIds | None:
        """Return the ids and words of our own that its lines have; None: its type isn't ours."""
        ids = self._ids or self._made_ids()
        return ids if ids[3] else None

    def log_fields(self) -> Mapping[str, str]:
        """Return what each line of the log that is about this run says; see `context`."""
        return job_fields(self._ids or self._made_ids())

    def _made_ids(self) -> JobIds:
        # Of most jobs the trace is their own: none is made only for its name.
        sent = self.traceparent or self._given_traceparent
        trace_id = self.trace.trace_id if sent else ""
        job, model = self.job, _MODELS.get(self.job.job_type, "")
        self._ids = job.id, job.claim_id, job.job_type, model, trace_id
        return self._ids

    def carried_by(self, carrier: "asyncio.Task[None]") -> None:
        """Note the coroutine that carries the job, so that it can be interrupted."""
        self._carrier = carrier

    def enter(self, phase: Phase) -> None:
        """Go on to the next phase, and note how long the last one took."""
        now = self.clock()
        self.timings[self.phase.value] = self.timings.get(self.phase.value, 0.0) + now - self._since
        if now > self._since:
            self.intervals.append(Interval(self.phase, self._since, now, self._preparing))
        self._since, self._preparing = now, self.preparing
        self.phase = phase

    def asks_for_gpu(self, waited: Callable[[], Waits] = lambda: NO_WAIT) -> None:
        """Note that it asks for the GPU, for the first time or again.

        `waited` returns why it has waited so far, as long as it does.
        """
        self._asking = waited
        if self.asked_at is None:
            self.asked_at = self.clock()

    def waited_for_gpu(self, waited: Waits) -> None:
        """Add why it had to wait for the GPU, until it was granted, refused or no longer wanted."""
        self._asking = None
        self.grants.append((self.clock(), waited))
        self.waits = self.waits.plus(waited)

    def waits_so_far(self) -> Waits:
        """Return why it has waited for the GPU, until now."""
        return self.waits if self._asking is None else self.waits.plus(self._asking())

    def account(self) -> dict[str, float]:
        """Return where its time went since the row was due, in seconds that add up.

        While nobody wanted jobs of its type, the row waited in the queue; from then on, and until
        it asked for the GPU, for being heard of and claimed. What the scheduler doesn't know of
        is the time before it was told: for the right company, see `quarantine`.
        """
        waited_s, waits = self._seconds_in(Phase.WAITING), self.waits_so_far()
        asked_s = waited_s if self.asked_at is None else self.asked_at - self.claimed_at
        heard_s = min(self.job.queued_s, self.open_s)
        unknown_s = max(0.0, waited_s - asked_s - sum(waits))
        return {
            "wake_up": heard_s + asked_s,
            "queue": self.job.queued_s - heard_s + unknown_s + waits.queue,
            "vram": waits.vram,
            "switch": waits.switch,
            "load": waits.load,
            "run": self._seconds_in(Phase.RUNNING),
            "upload": self._seconds_in(Phase.UPLOADING),
        }

    def rounded_account(self) -> dict[str, float]:
        """Return the account to the millisecond, for those who read it."""
        return {name: round(seconds, 3) for name, seconds in self.account().items()}

    def _seconds_in(self, phase: Phase) -> float:
        """Return how long it was in a phase, the one included that goes on."""
        going_on_s = self.clock() - self._since if phase is self.phase else 0.0
        return self.timings.get(phase.value, 0.0) + going_on_s

    def begin(self) -> bool:
        """Note that the carrier has begun; return whether the job was interrupted before."""
        self._begun = True
        return self.interruption is None

    def interrupt(self, why: Interruption) -> None:
        """Stop the job at its next step; does nothing once the outcome is being written."""
        if self.interruption is not None or self.phase is Phase.FINISHING:
            return
        self.interruption = why
        if self._asking is not None:
            # Once it has gone, nobody knows any more what it waited for.
            self.waited_for_gpu(self._asking())
        # A coroutine that is cancelled before its first step never runs at all, and could not
        # give the job back: it is told by `begin` instead.
        if self._begun and self._carrier is not None:
            self._carrier.cancel()

    def lease_ended(self, state: LeaseState) -> None:
        """Stop since the database says that the claim no longer counts."""
        cancelled = state is LeaseState.CANCELLED
        self.interrupt(Interruption.CANCELLED if cancelled else Interruption.LOST)

    def progress_of(self, step: StepReport) -> Progress:
        """Turn an engine's step into the row's progress; 100 is written by the finish alone."""
        self.percent = max(self.percent, min(99, int(step.fraction * 100)))
        self.last_step = step.current_step
        return self.progress()

    def progress(self) -> Progress:
        """Return the row's progress as it is known now."""
        return Progress(
            self.job.claim_id,
            self.percent,
            self.last_step,
            self._expected(),
            self.rounded_account,
        )

    def _expected(self) -> datetime | None:
        """Return when the job is expected to end; None as long as nothing was foretold."""
        if self.ends_at is None:
            return None
        return datetime.now(UTC) + timedelta(seconds=max(0.0, self.ends_at - self.clock()))
