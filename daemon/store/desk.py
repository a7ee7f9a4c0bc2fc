"""How rows are read and asked for over HTTP: what goes into the functions, and what comes out."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from daemon.job_rows import JobRow, NewJob, Submitted
from daemon.store.rows import Row, clean, json_of, time_of, uuid_of


def metadata_text(job: NewJob) -> str:
    """Return a request as JSON that the database can store."""
    return json.dumps(clean(job.metadata))


def submitted_of(row: Row) -> Submitted:
    """Read the answer of `submit_job`."""
    return Submitted(row["created"], row["same"], row["status"])


def status_of(found: Sequence[Row]) -> str | None:
    """Read the answer of `withdraw_job`."""
    status: str | None = found[0]["status"] if found else None
    return status


def job_rows(found: Sequence[Row]) -> dict[UUID, JobRow]:
    """Read the answer of `read_jobs`."""
    rows = map(_job_row, found)
    return {row.id: row for row in rows}


def _job_row(row: Row) -> JobRow:
    return JobRow(
        id=uuid_of(row["id"]),
        job_type=row["job_type"],
        status=row["status"],
        progress=row["progress"],
        current_step=row["current_step"],
        estimated_completion=_moment(row["estimated_completion"]),
        result=_result(row["result"]),
        error=row["error"],
        error_code=row["error_code"],
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
        created_at=_moment(row["created_at"]),
        started_at=_moment(row["started_at"]),
        completed_at=_moment(row["completed_at"]),
        timings=_result(row["timings"]),
    )


def _result(text: str | None) -> Any:
    return None if text is None else json_of(text)


def _moment(value: datetime | str | None) -> datetime | None:
    return None if value is None else time_of(value)
