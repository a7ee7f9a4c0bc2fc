"""A jobs table in memory, as the HTTP API asks of it: it does what a test tells it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from daemon.job_rows import JobRow, NewJob, Submitted

CREATED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_row(**changes: Any) -> JobRow:
    """Return a queued chat job's row, with changes."""
    facts: dict[str, Any] = {
        "id": uuid4(),
        "job_type": "chat",
        "status": "queued",
        "progress": 0,
        "current_step": None,
        "estimated_completion": None,
        "result": None,
        "error": None,
        "error_code": None,
        "attempts": 0,
        "max_attempts": 3,
        "created_at": CREATED,
        "started_at": None,
        "completed_at": None,
    }
    return JobRow(**{**facts, **changes})


@dataclass
class ScriptedDesk:
    """Rows, and what was asked; a failure is raised by every call, a list of them by one each."""

    rows: dict[UUID, JobRow] = field(default_factory=dict)
    submitted: dict[UUID, NewJob] = field(default_factory=dict)
    calls: list[Any] = field(default_factory=list)
    failure: Exception | None = None
    failures: list[Exception] = field(default_factory=list)
    holds_back: asyncio.Event | None = None
    """Looks wait for it."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a look waits."""

    def has(self, *rows: JobRow) -> None:
        self.rows |= {row.id: row for row in rows}

    async def submit(self, job: NewJob) -> Submitted:
        self.calls.append(job)
        created = job.id not in self.submitted
        first = self.submitted.setdefault(job.id, job)
        self.rows.setdefault(job.id, a_row(id=job.id, job_type=job.job_type))
        # As when the reply is lost: it was added all the same.
        self._fail()
        same = first.fingerprint == job.fingerprint
        return Submitted(created, same, self.rows[job.id].status)

    async def look(self, job_ids: Sequence[UUID]) -> dict[UUID, JobRow]:
        self.calls.append(list(job_ids))
        if self.holds_back is not None:
            self.asked.set()
            await self.holds_back.wait()
        self._fail()
        return {each: self.rows[each] for each in job_ids if each in self.rows}

    async def cancel(self, job_id: UUID) -> str | None:
        self._fail()
        row = self.rows.get(job_id)
        if row is None:
            return None
        if not row.finished:
            row = self.rows[job_id] = replace(row, status="cancelled")
        return row.status

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
        if self.failure is not None:
            raise self.failure
