"""What operators ask of rows on the command line, by both ways to the database.

The functions are open to the worker's role and to a service key; `StoreRejectedError` says so when
another one asks.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from daemon.credentials import Credentials
from daemon.job_rows import JobRow
from daemon.store import desk, rows
from daemon.store.postgres import PostgresStore
from daemon.store.supabase import SupabaseStore


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs; None: any. `since` counts from the insert."""

    statuses: tuple[str, ...] | None = None
    job_types: tuple[str, ...] | None = None
    user_id: UUID | None = None
    since: datetime | None = None
    job_ids: tuple[UUID, ...] | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A row, whose it is, and its priority."""

    row: JobRow
    user_id: UUID | None
    priority: int


@dataclass(frozen=True, slots=True)
class Retried:
    """The status that a job has now, and whether it was put back by this call."""

    status: str
    retried: bool


class Operators(Protocol):
    """An operator's desk; calls raise as those of `JobStore` do."""

    async def add(
        self, job_type: str, metadata: dict[str, Any], user_id: UUID | None, priority: int
    ) -> UUID:
        """Add a job and return its id. Not idempotent: without an answer there may be one."""
        ...

    async def find(self, wanted: Wanted) -> list[ListedJob]:
        """Return jobs, the newest first."""
        ...

    async def cancel(self, job_id: UUID) -> str | None:
        """Cancel an unfinished job; return the status that it has now, None: there is none."""
        ...

    async def retry(self, job_id: UUID) -> Retried | None:
        """Put a failed or cancelled job back into the queue; None: there is none."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class PostgresOperators(PostgresStore):
    """`Operators` over a direct connection."""

    def __init__(self, dsn: str, *, timeout_s: float) -> None:
        super().__init__(dsn, pool_size=1, statement_timeout_s=timeout_s)

    async def add(
        self, job_type: str, metadata: dict[str, Any], user_id: UUID | None, priority: int
    ) -> UUID:
        """Add a job and return its id."""
        [row] = await self._call(
            "select (public.enqueue_job($1, $2, $3, $4)).id",
            rows.clean(job_type),
            json.dumps(rows.clean(metadata)),
            priority,
            user_id,
        )
        return rows.uuid_of(row["id"])

    async def find(self, wanted: Wanted) -> list[ListedJob]:
        """Return jobs, the newest first."""
        found = await self._call(
            "select * from public.list_jobs($1, $2, $3, $4, $5, $6)",
            wanted.statuses,
            wanted.job_types,
            wanted.user_id,
            wanted.since,
            wanted.limit,
            wanted.job_ids,
        )
        return _listed(found)

    async def retry(self, job_id: UUID) -> Retried | None:
        """Put a failed or cancelled job back into the queue."""
        return _retried(await self._call("select * from public.retry_job($1)", job_id))


class SupabaseOperators(SupabaseStore):
    """`Operators` over the REST interface."""

    def __init__(self, url: str, credentials: Credentials, *, timeout_s: float) -> None:
        super().__init__(url, credentials, timeout_s=timeout_s)

    async def add(
        self, job_type: str, metadata: dict[str, Any], user_id: UUID | None, priority: int
    ) -> UUID:
        """Add a job and return its id."""
        arguments = {
            "p_job_type": rows.clean(job_type),
            "p_metadata": rows.clean(metadata),
            "p_priority": priority,
            "p_user_id": user_id and str(user_id),
        }
        return rows.uuid_of((await self._call("enqueue_job", arguments))["id"])

    async def find(self, wanted: Wanted) -> list[ListedJob]:
        """Return jobs, the newest first."""
        arguments = {
            "p_statuses": wanted.statuses,
            "p_job_types": wanted.job_types,
            "p_user_id": wanted.user_id and str(wanted.user_id),
            "p_since": wanted.since and wanted.since.isoformat(),
            "p_limit": wanted.limit,
            "p_job_ids": wanted.job_ids and [str(job_id) for job_id in wanted.job_ids],
        }
        return _listed(await self._call("list_jobs", arguments))

    async def retry(self, job_id: UUID) -> Retried | None:
        """Put a failed or cancelled job back into the queue."""
        return _retried(await self._call("retry_job", {"p_job_id": str(job_id)}))


def _listed(found: Sequence[rows.Row]) -> list[ListedJob]:
    jobs = desk.job_rows(found)
    return [
        ListedJob(
            row=jobs[rows.uuid_of(row["id"])],
            user_id=None if row["user_id"] is None else rows.uuid_of(row["user_id"]),
            priority=row["priority"],
        )
        for row in found
    ]


def _retried(found: Sequence[rows.Row]) -> Retried | None:
    return Retried(found[0]["status"], found[0]["retried"]) if found else None
