"""What became of a job, as an exit status and in words."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from daemon.job_rows import JobRow
    from daemon.store.operators import ListedJob

FAILED = 3
CANCELLED = 4
TIMED_OUT = 5
"""`--timeout` is over; the job is not."""

STATUSES = ("queued", "processing", "completed", "failed", "cancelled")

_CODES = {"completed": 0, "failed": FAILED, "cancelled": CANCELLED}
_ANSWERS = ("response", "enhanced_prompt")


def exit_status(row: "JobRow") -> int:
    """Return the exit status for a finished job."""
    return _CODES.get(row.status, FAILED)


def job_json(job: "ListedJob") -> dict[str, Any]:
    """Return a job as JSON."""
    row = job.row
    return {
        "id": row.id,
        "job_type": row.job_type,
        "status": row.status,
        "user_id": job.user_id,
        "priority": job.priority,
        "progress": row.progress,
        "current_step": row.current_step,
        "estimated_completion": row.estimated_completion,
        "attempts": row.attempts,
        "max_attempts": row.max_attempts,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "completed_at": row.completed_at,
        "timings": row.timings,
        "result": row.result,
        "error": row.error,
        "error_code": row.error_code,
    }


def answer_of(result: Any) -> str | None:
    """Return what a model said; None where it drew."""
    if not isinstance(result, Mapping):
        return None
    found = (result.get(name) for name in _ANSWERS)
    return next((text for text in found if isinstance(text, str)), None)


def artifacts_of(result: Any) -> list[Mapping[str, Any]]:
    """Return the files of a result."""
    found = result.get("artifacts") if isinstance(result, Mapping) else None
    if not isinstance(found, list):
        return []
    return [each for each in found if isinstance(each, Mapping) and "path" in each]


def how_to_go_on(job_id: UUID) -> str:
    """Say that a job goes on, how to watch it, and how to end it."""
    return (
        f"the job goes on. Watch it: ourvidz-worker jobs watch {job_id}\n"
        f"Cancel it: ourvidz-worker jobs cancel {job_id}"
    )


def state_of(row: "JobRow") -> str:
    """Say in a few words where a job is."""
    match row.status:
        case "failed":
            return f"failed: {row.error_code}: {row.error}"
        case "processing":
            return f"processing {row.progress} % {row.current_step or ''}".rstrip() + _until(row)
        case "queued" if row.error:
            return f"queued again after: {row.error}{_until(row)}"
        case "queued":
            return f"queued{_until(row)}"
        case status:
            return status


def _until(row: "JobRow") -> str:
    """Say when it should be done, by the clock on the wall: that doesn't change with each look."""
    end = row.estimated_completion
    return "" if end is None else f", done by {end.astimezone():%H:%M:%S}"
