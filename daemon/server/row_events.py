"""What a row says to those who follow it, in the words of the live feed. Pure.

A row knows no text and no preview, and no step's number. Its events are numbered 0: whoever comes
back after one is told everything anew, by the row or by the feed.
"""

from collections.abc import Mapping
from typing import Any

from daemon.job_rows import JobRow
from daemon.jobs import Status
from daemon.journal import Event, Kind
from daemon.telemetry.redaction import redact


def news(before: JobRow | None, now: JobRow) -> list[Event]:
    """Return what has changed since the row was looked at before; None: all of it is new."""
    if now.finished:
        return [Event(0, Kind.END, _end(now))]
    step = Event(0, Kind.STEP, _step(now))
    if before is None:
        return [step]
    if reason := _restarted(before, now):
        return [Event(0, Kind.RESTARTED, {"reason": reason}), step]
    return [] if step.data == _step(before) else [step]


def _restarted(before: JobRow, now: JobRow) -> str | None:
    """Return why the job has left the worker that had it; None: it hasn't.

    A release gives the attempt back, a retry or a lease that ran out doesn't.
    """
    if before.status != Status.PROCESSING:
        return None
    if now.status == Status.PROCESSING and now.started_at == before.started_at:
        return None
    spent = now.attempts - (now.status == Status.PROCESSING)
    return "retried" if spent >= before.attempts else "released"


def _step(row: JobRow) -> Mapping[str, Any]:
    expected = row.estimated_completion
    return {
        "current_step": row.current_step,
        "progress": row.progress,
        "step": None,
        "steps": None,
        "estimated_completion": None if expected is None else expected.isoformat(),
        "status": row.status,
    }


def _end(row: JobRow) -> Mapping[str, Any]:
    data = {
        "status": row.status,
        "error": None if row.error is None else redact(row.error),
        "error_code": row.error_code,
    }
    return data | ({"result": row.result} if row.status == Status.COMPLETED else {})
