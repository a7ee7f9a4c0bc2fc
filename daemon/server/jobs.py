"""`GET /jobs/{id}` and `POST /jobs/{id}/cancel`: a row, for those who have the worker's key.

The fields are those of "Job Processing" in the API's document, read from the row as it is; those
that don't apply are null.
"""

from datetime import UTC, datetime
from typing import Any

from aiohttp import hdrs, web

from daemon.job_rows import JobRow
from daemon.server.desk import Desk, job_id_of, no_such_job
from daemon.telemetry.redaction import redact


class JobRoutes:
    """Answers from the database alone: any worker knows every job."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[web.RouteDef]:
        """Return what is served."""
        return [
            web.get("/jobs/{job_id}", self.read),
            web.post("/jobs/{job_id}/cancel", self.cancel),
        ]

    async def read(self, request: web.Request) -> web.Response:
        """Answer with the job as its row has it."""
        job_id = job_id_of(request)
        row = (await self._desk.look([job_id])).get(job_id)
        if row is None:
            raise no_such_job(job_id)
        return _json(job_answer(row))

    async def cancel(self, request: web.Request) -> web.Response:
        """Cancel the job if it hasn't ended, and answer with the status that it has now."""
        job_id = job_id_of(request)
        status = await self._desk.cancel(job_id)
        if status is None:
            raise no_such_job(job_id)
        return _json({"job_id": str(job_id), "status": status})


def job_answer(row: JobRow) -> dict[str, Any]:
    """Return the body of `GET /jobs/{id}`; times are ISO 8601 in UTC, ending in Z."""
    return {
        "job_id": str(row.id),
        "job_type": row.job_type,
        "status": row.status,
        "progress": row.progress,
        "current_step": row.current_step,
        "estimated_completion": _moment(row.estimated_completion),
        "result": row.result,
        "error": None if row.error is None else redact(row.error),
        "error_code": row.error_code,
        "attempts": row.attempts,
        "max_attempts": row.max_attempts,
        "created_at": _moment(row.created_at),
        "started_at": _moment(row.started_at),
        "completed_at": _moment(row.completed_at),
        "timings": row.timings,
    }


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _json(body: dict[str, Any]) -> web.Response:
    response = web.json_response(body)
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
    return response
