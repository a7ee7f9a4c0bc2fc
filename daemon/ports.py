"""The seams of the daemon, each with its contract; those of engines are in `engine_ports`.

`app.py` chooses what stands behind each.

Implementations of one port pass one conformance suite (`tests/conformance`).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol
from uuid import UUID

from daemon.job_rows import JobDesk
from daemon.jobs import Finish, Job, LeaseState, Progress, Recorded
from daemon.values import (
    Artifact,
    ArtifactFile,
    Backlog,
    Canary,
    Demand,
    QueueForecast,
    SweepResult,
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
        ...

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
