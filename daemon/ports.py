"""Every seam of the daemon, with its contract. `app.py` chooses what stands behind each.

Implementations of one port pass one conformance suite (`tests/conformance`).
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from daemon.jobs import Finish, Job, LeaseState, Progress, Recorded


class StoreUnavailableError(Exception):
    """The database can't be reached or gave no answer: the call may or may not have happened.

    Every call of the store is idempotent, so the caller simply calls again.
    """


class StoreRejectedError(Exception):
    """The database answered and refused: a trigger, a constraint, a missing right."""


class SchemaMismatchError(Exception):
    """The database isn't migrated, or is newer than this daemon; the message says which."""


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """Who claims: `worker_id` survives a restart, `instance_id` doesn't.

    A restarted worker takes back at once what its dead predecessor held.
    """

    worker_id: str
    instance_id: UUID


@dataclass(frozen=True, slots=True)
class Demand:
    """How many jobs, at most `count`, of any of `job_types` the scheduler can take now."""

    job_types: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep did and when the next one is due.

    Attributes:
        rescued: jobs put back into the queue because their lease had expired.
        failed: jobs failed because no attempt was left, or their type is unknown.
        next_due_s: seconds until a lease expires or a delayed job becomes due; None: nothing
            in sight.
    """

    rescued: int
    failed: int
    next_due_s: float | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """One job type's place in the queue. Ages are seconds by the database's clock."""

    job_type: str
    queued: int
    processing: int
    oldest_queued_s: float | None


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

    async def queue_summary(self) -> list[Backlog]:
        """Count what is queued and processing, by job type."""
        ...

    async def aclose(self) -> None:
        """Close connections; later calls raise `StoreUnavailableError`."""
        ...


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


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """A result file, as the engine made it."""

    kind: str
    """`image`, `video` or `thumbnail`: picks the bucket."""
    content_type: str
    extension: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Artifact:
    """A stored result file. `url` is None where the bucket is private and nothing signs."""

    kind: str
    bucket: str
    path: str
    url: str | None
    content_type: str
    size: int
    """Bytes."""


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


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of a run, from the engine: `fraction` 0.0 to 1.0 of the whole run."""

    current_step: str
    fraction: float
    step: int | None = None
    steps: int | None = None


class ProgressSink(Protocol):
    """Takes each step of a run. It must not block."""

    def __call__(self, report: StepReport) -> None:
        """Take one step."""
        ...


@dataclass(frozen=True, slots=True)
class RunOutput:
    """What a run made: the result's JSON fields, its files, and what it cost.

    Attributes:
        fields: JSON for the row's `result` (a chat's answer; an image's metadata).
        files: result files in order; empty for chat.
        peak_bytes: the engine's measured peak during the run, None if it can't measure.
        timings: seconds by phase inside the engine.
    """

    fields: Mapping[str, Any]
    files: Sequence[ArtifactFile]
    peak_bytes: int | None
    timings: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model is in memory: the bytes that its weights took there, and the seconds it took."""

    weights_bytes: int
    seconds: float


class EngineLostError(Exception):
    """The engine process ended or was killed with the run in it; `reason` says how."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RunCancelledError(Exception):
    """The run stopped at a step because it was asked to."""


class Engine(Protocol):
    """One process that holds one model. Owned by the pool; a killed engine is never reused."""

    async def load(self) -> Loaded:
        """Load the model.

        Raises:
            JobError: with MODEL_LOAD_FAILED or VRAM_OVERFLOW.
            EngineLostError: the process ended while loading.
        """
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

    async def ended(self) -> str:
        """Wait for the process to end by itself or by `stop`; return the reason in words."""
        ...


class EngineFactory(Protocol):
    """Makes the engine of a model on a device; starting is part of `load`."""

    def __call__(self, model: str, device: int) -> Engine:
        """Return a new engine that hasn't started yet."""
        ...


class Admissions(Protocol):
    """The right to use the GPU, as the scheduler grants it."""

    def demand(self) -> Sequence[Demand]:
        """Return the jobs that could be taken now; empty is backpressure."""
        ...

    def admit(self, request: "AdmissionRequest") -> AbstractAsyncContextManager[Engine]:
        """Wait for a reservation on a loaded engine; leaving returns it.

        Raises `JobError` (MODEL_LOAD_FAILED, VRAM_OVERFLOW) when it can never be granted.
        """
        ...


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """One job's wish for the GPU; `created_s` is when its wait began, monotonic seconds."""

    id: str
    model: str
    quality: str
    user: str | None
    created_s: float
    interactive: bool = False
    """An HTTP client waits: ahead of batch work."""
    alone: bool = False
    """Nothing else may run in the model's engine: an earlier attempt ended badly."""
