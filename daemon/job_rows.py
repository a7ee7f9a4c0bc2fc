"""A row as somebody outside the worker sees it, one that he asks for, and the port for both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from daemon.jobs import Status

FINISHED: frozenset[str] = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
"""A row with one of these doesn't change any more, unless the backend queues it again."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be added under a given id.

    Attributes:
        id: of the row; the same one again adds nothing.
        job_type: one of `daemon.job_types`.
        metadata: the request.
        user_id: whose job it is; None: nobody's.
        fingerprint: what tells this request from another one with the same id.
    """

    id: UUID
    job_type: str
    metadata: Mapping[str, Any]
    user_id: UUID | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a `NewJob`.

    Attributes:
        created: it was added by this call.
        same: the row of that id was asked for with the same fingerprint.
        status: of the row, now.
    """

    created: bool
    same: bool
    status: str


@dataclass(frozen=True, slots=True)
class JobRow:
    """A row without its request. `status` may be a word of an existing table that isn't ours."""

    id: UUID
    job_type: str
    status: str
    progress: int
    current_step: str | None
    estimated_completion: datetime | None
    result: Any
    """JSON; None until it is completed."""
    error: str | None
    error_code: str | None
    attempts: int
    max_attempts: int
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    timings: Mapping[str, float] | None = None
    """Where its time went since it was queued, seconds."""

    @property
    def finished(self) -> bool:
        """Whether nothing more is to be expected of it."""
        return self.status in FINISHED


class JobDesk(Protocol):
    """What the HTTP API asks of rows; every call is idempotent, and raises as `JobStore` does.

    Rows that belong to other providers don't exist here.
    """

    async def submit(self, job: NewJob) -> Submitted:
        """Add a job, unless there is one of that id."""

    async def look(self, job_ids: Sequence[UUID]) -> dict[UUID, JobRow]:
        """Return the rows of those that exist."""

    async def cancel(self, job_id: UUID) -> str | None:
        """Cancel an unfinished job; return the status that it has now, None: there is none."""
