"""The state of one claimed job while this worker holds it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from daemon.jobs import Job, LeaseState, Progress
from daemon.values import StepReport


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
    _carrier: asyncio.Task[None] | None = None
    _since: float = 0.0
    _begun: bool = False

    def __post_init__(self) -> None:
        self._since = self.claimed_at

    def carried_by(self, carrier: "asyncio.Task[None]") -> None:
        """Note the coroutine that carries the job, so that it can be interrupted."""
        self._carrier = carrier

    def enter(self, phase: Phase) -> None:
        """Go on to the next phase, and note how long the last one took."""
        now = self.clock()
        self.timings[self.phase.value] = self.timings.get(self.phase.value, 0.0) + now - self._since
        self._since = now
        self.phase = phase

    def begin(self) -> bool:
        """Note that the carrier has begun; return whether the job was interrupted before."""
        self._begun = True
        return self.interruption is None

    def interrupt(self, why: Interruption) -> None:
        """Stop the job at its next step; does nothing once the outcome is being written."""
        if self.interruption is not None or self.phase is Phase.FINISHING:
            return
        self.interruption = why
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
        return Progress(self.job.claim_id, self.percent, step.current_step, self._expected(step))

    def _expected(self, step: StepReport) -> datetime | None:
        """Extrapolate the run's end from its pace; None before there is any."""
        if self.phase is not Phase.RUNNING or step.fraction <= 0:
            return None
        elapsed = self.clock() - self._since
        return datetime.now(UTC) + timedelta(seconds=elapsed * (1 / step.fraction - 1))
