"""Every seam of the daemon, with its contract. `app.py` chooses what stands behind each.

Implementations of one port pass one conformance suite (`tests/conformance`).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from daemon.job_rows import JobDesk
from daemon.jobs import Finish, Job, LeaseState, Progress, Recorded
from daemon.values import (
    AdmissionRequest,
    Artifact,
    ArtifactFile,
    Backlog,
    Canary,
    Demand,
    EngineEnd,
    Loaded,
    Offloaded,
    QueueForecast,
    RunOutput,
    StepReport,
    SweepResult,
    Waits,
    WorkerIdentity,
)


class JobStore(Protocol):
    """All that the daemon does to the database, as fenced and idempotent calls.

    Every method raises `StoreUnavailableError` when no answer came and `StoreRejectedError` when
    the database refused. Durations are seconds; the database's clock alone decides.
    """

    async def check_schema(self) -> None:
        """Raise `SchemaMismatchError` unless the database has exactly this daemon's schema."""
        ...

    async def claim(
        self, worker: WorkerIdentity, request_id: UUID, demands: Sequence[Demand], lease_s: float
    ) -> list[Job]:
        """Claim up to each demand's count, in fair order; the same `request_id`, the same jobs."""
        ...

    async def renew(self, claims: Sequence[UUID], lease_s: float) -> dict[UUID, LeaseState]:
        """Extend the leases that are still held; one call for all claims of the worker."""
        ...

    async def progress(self, reports: Sequence[Progress]) -> dict[UUID, LeaseState]:
        """Write progress of claims that are still held; one call for all."""
        ...

    async def finish(self, finishes: Sequence[Finish]) -> dict[UUID, Recorded]:
        """Record outcomes (`Released` too), each fenced by its claim; keyed by claim_id.

        All are recorded or none: `StoreRejectedError` says that the batch was refused as a whole,
        and the caller narrows it down.
        """
        ...

    async def sweep(self, worker: WorkerIdentity, *, predecessor: bool = False) -> SweepResult:
        """Take back expired leases (a bounded number), fail jobs of unknown type.

        With `predecessor` also take back what another instance of the same worker still holds:
        called once at start, when the caller knows that the predecessor is dead.
        """
        ...

    async def beat_canary(self, min_age_s: float) -> Canary:
        """Send a canary through every wake-up source unless one was sent so few seconds ago.

        Return the last one that was sent.
        """
        ...

    async def queue_summary(self) -> list[Backlog]:
        """Count what is queued and processing, by job type."""
        ...

    async def charge(self, seconds: Mapping[UUID, float]) -> None:
        """Put users' next jobs so many seconds further behind in the fair order."""
        ...

    async def foretell(
        self, worker_id: str, forecasts: Sequence[QueueForecast], limit: int, every_s: float
    ) -> int:
        """Tell `limit` queued rows their ends, `every_s` after the last ones; return how many."""

    async def aclose(self) -> None:
        """Close connections; later calls raise `StoreUnavailableError`."""
        ...


class Holder(Protocol):
    """Keeps a claim (leases)."""

    def hold(
        self, claim_id: UUID, claimed_at: float, on_end: Callable[[LeaseState], None]
    ) -> AbstractContextManager[object]:
        """Keep it for the block; `on_end` is called once if it ends before."""
        ...

    def apply(self, states: Mapping[UUID, LeaseState]) -> None:
        """Take the database's word on claims; those that aren't held are left alone."""
        ...


class ProgressTaker(Protocol):
    """Takes how far runs are (the progress writer)."""

    def report(self, progress: Progress) -> None:
        """Take a claim's latest progress."""
        ...

    def forget(self, claim_id: UUID) -> None:
        """Drop what waits for a claim that has ended."""
        ...


class Database(JobStore, JobDesk, Protocol):
    """Both sides of the jobs table: a worker's, and that of those who ask for jobs."""


class WakeUp(Protocol):
    """The one flag that every wake-up source sets. `asyncio.Event` fulfils it."""

    def set(self) -> None:
        """Say that work may exist."""
        ...


class WakeUpSource(Protocol):
    """Something that hears of new rows. It never returns and never raises but on cancellation."""

    name: str

    async def run(self, wake: WakeUp) -> None:
        """Set `wake` on each hint, and whenever hints may have been missed."""
        ...

    def state(self) -> Mapping[str, Any]:
        """Return what an operator wants to know: connected, since when, hints, last error."""
        ...

    def doubt(self, reason: str) -> None:
        """Replace a connection that looks alive and has announced nothing of what was there."""
        ...


class ArtifactStore(Protocol):
    """Where result files are kept: `{bucket}/{user_id}/{job_id}/{claim_id}-{n}.{ext}`.

    Raises `JobError` with NETWORK_ERROR when the store can't be reached or answers 5xx, and
    with GENERATION_FAILED and the bucket's name when the bucket doesn't exist.
    """

    async def save(self, job: Job, number: int, file: ArtifactFile) -> Artifact:
        """Store one file; saving the same claim's file twice is one file."""
        ...

    async def remove(self, artifacts: Sequence[Artifact]) -> None:
        """Remove files whose claim turned out stale; missing ones are no error."""
        ...

    async def check(self) -> list[str]:
        """Return a sentence for each thing that would make saving fail (a missing bucket)."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


class ProgressSink(Protocol):
    """Takes each step of a run. It must not block."""

    def __call__(self, report: StepReport) -> None:
        """Take one step."""
        ...


class Engine(Protocol):
    """One process that holds one model. Owned by the pool; a killed engine is never reused."""

    async def load(self) -> Loaded:
        """Load the model.

        Raises:
            JobError: with MODEL_LOAD_FAILED or VRAM_OVERFLOW.
            EngineLostError: the process ended while loading.
        """
        ...

    async def offload(self) -> Offloaded:
        """Move the weights to the host's memory; no run may be in the engine.

        Raises:
            JobError: they couldn't be moved; the engine is of no further use.
            EngineLostError: the engine is gone.
        """
        ...

    async def restore(self) -> Loaded:
        """Move the weights back to the device after `offload`; raises as `load` does."""
        ...

    async def run(
        self, run_id: str, handler: str, params: Mapping[str, Any], progress: ProgressSink
    ) -> RunOutput:
        """Run to the end.

        When the caller is cancelled, the run is stopped at its next step, and the call ends only
        when it has really ended or the engine is dead.

        Raises:
            JobError: the run failed; the engine lives on.
            RunCancelledError: `cancel` stopped it.
            EngineLostError: the engine is gone.
        """
        ...

    def cancel(self, run_id: str) -> None:
        """Ask a run to stop at its next step; unknown ids are ignored."""
        ...

    async def stop(self, grace_s: float = 5.0) -> None:
        """End the process and its whole group; returns when it is gone for certain."""
        ...

    async def ended(self) -> EngineEnd:
        """Wait for the process to end by itself or by `stop`; return how it did.

        Also where it can't be ended: nothing more comes of it, and `stop` tells when it is gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class KeptEngine:
    """A loaded engine that nobody owns, between two pools: whoever has it must stop it or adopt it.

    `loaded` is what its load said: the bytes that it holds, and what it can do.
    """

    model: str
    device: int
    engine: Engine
    loaded: Loaded


class EngineFactory(Protocol):
    """Makes the engine of a model on a device; starting is part of `load`."""

    def __call__(self, model: str, device: int) -> Engine:
        """Return a new engine that hasn't started yet."""
        ...


class AdmittedEngine(Protocol):
    """An engine for the time of one admission.

    Attributes:
        waited: seconds that the request had waited for it, by reason.
        savings: how far a run may go to save memory, see `handlers.base.Saving`.
    """

    waited: Waits
    savings: int

    async def run(
        self, run_id: str, handler: str, params: Mapping[str, Any], progress: ProgressSink
    ) -> RunOutput:
        """Run to the end; see `Engine.run`."""
        ...

    def cancel(self, run_id: str) -> None:
        """Ask a run to stop at its next step."""
        ...


class Admissions(Protocol):
    """The right to use the GPU, as the scheduler grants it."""

    def demand(self) -> Sequence[Demand]:
        """Return the jobs that could be taken now; empty is backpressure."""
        ...

    def admit(
        self, request: AdmissionRequest, loads: Callable[[], None] = lambda: None
    ) -> AbstractAsyncContextManager[AdmittedEngine]:
        """Wait for a reservation on a loaded engine; leaving returns it.

        `loads` is called when its model begins to load while it waits.

        Raises `JobError` (MODEL_LOAD_FAILED, VRAM_OVERFLOW) when it can never be granted.
        """
        ...

    def waited(self, request_id: str) -> Waits:
        """Return the seconds that a request has waited so far; nothing if it doesn't wait."""
        ...
