"""What goes into the database's functions and what comes out, alike for both stores.

Rows come with UUIDs and times as objects (asyncpg) or as text (REST). Everything that goes in is
made fit for jsonb here: it has no NUL and no NaN, and one bad character must not cost a result.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from daemon.jobs import (
    Cancelled,
    Completed,
    Failed,
    Finish,
    Job,
    LeaseState,
    Outcome,
    Progress,
    Recorded,
    Released,
    Retry,
)
from daemon.traces import Arrival
from daemon.values import Backlog, Canary, Demand, QueueForecast, SweepResult


class Row(Protocol):
    """A row by column name: asyncpg's record, or a dict from JSON."""

    def __getitem__(self, name: str, /) -> Any:
        """Return one column's value."""
        ...


_FUNCTIONS = (
    "claim_jobs",
    "renew_leases",
    "report_progress",
    "finish_jobs",
    "sweep_jobs",
    "beat_canary",
    "queue_summary",
    "charge_users",
    "foretell_queue",
    "export_trace",
    "submit_job",
    "read_jobs",
    "withdraw_job",
    "enqueue_job",
    "list_jobs",
    "retry_job",
    "ourvidz_schema_version",
)
_LONGEST_INT = 300
"""Digits; longer integers are read as floats, since Python refuses those above 4,300."""
_LONGER_INT = re.compile(rf"\d{{{_LONGEST_INT + 1}}}")

_UNAVAILABLE_CLASSES = ("08", "53", "57P")
_UNAVAILABLE = frozenset({"40001", "40P01", "55P03", "57014"})


def is_unavailable(sqlstate: str) -> bool:
    """Whether an SQLSTATE says that the same call may succeed later: no answer, not a refusal."""
    return sqlstate.startswith(_UNAVAILABLE_CLASSES) or sqlstate in _UNAVAILABLE


def is_unmigrated(sqlstate: str, message: str) -> bool:
    """Whether an error means that one of our functions isn't there."""
    # Somebody's broken trigger may miss a function too: that isn't our schema.
    return sqlstate == "PGRST202" or (
        sqlstate == "42883" and any(f"{name}(" in message for name in _FUNCTIONS)
    )


def demand_entries(demands: Sequence[Demand]) -> list[dict[str, Any]]:
    """Return the demands as `claim_jobs` reads them."""
    return [{"job_types": list(demand.job_types), "count": demand.count} for demand in demands]


def charge_entries(seconds: Mapping[UUID, float]) -> list[dict[str, Any]]:
    """Return charges as `charge_users` reads them."""
    return [{"user_id": str(user), "seconds": each} for user, each in seconds.items()]


def progress_entries(reports: Sequence[Progress]) -> list[dict[str, Any]]:
    """Return the reports as `report_progress` reads them."""
    return [
        {
            "claim_id": str(report.claim_id),
            "percent": report.percent,
            "current_step": clean(report.current_step),
            "estimated_completion": (
                report.estimated_completion and report.estimated_completion.isoformat()
            ),
            "timings": report.timings(),
        }
        for report in reports
    ]


def forecast_entries(forecasts: Sequence[QueueForecast]) -> list[dict[str, Any]]:
    """Return the forecasts as `foretell_queue` reads them."""
    return [
        {
            "job_types": list(each.job_types),
            "ends_s": [round(end_s, 1) for end_s in each.ends_s],
            "each_s": each.each_s,
        }
        for each in forecasts
    ]


def finish_text(finishes: Sequence[Finish]) -> str:
    """Return the finishes as `finish_jobs` reads them, as JSON.

    Nearly every batch is fit as it is, and is written without a look at each value.
    """
    entries = [
        {
            "claim_id": finish.claim_id,
            "timings": finish.timings,
            **_outcome_fields(finish.outcome, _as_is),
        }
        for finish in finishes
    ]
    try:
        text = msgspec.json.encode(entries)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        # A value that isn't JSON, or half a surrogate pair.
        text = b""
    # NaN and the infinities are null by now, a NUL is an escape.
    if not text or b"\\u0000" in text:
        return json.dumps(finish_entries(finishes))
    return text.decode()


def finish_entries(finishes: Sequence[Finish]) -> list[dict[str, Any]]:
    """Return the finishes as `finish_jobs` reads them."""
    return [
        {
            "claim_id": str(finish.claim_id),
            "timings": clean(finish.timings),
            **_outcome_fields(finish.outcome, clean),
        }
        for finish in finishes
    ]


def _outcome_fields(outcome: Outcome, fit: Callable[[Any], Any]) -> dict[str, Any]:
    match outcome:
        case Completed(result):
            return {"outcome": "completed", "result": fit(result)}
        case Failed(error, error_code, engine_lost):
            return {
                "outcome": "failed",
                "error": fit(error),
                "error_code": error_code,
                "engine_lost": engine_lost,
            }
        case Retry(error, error_code, delay_s):
            return {
                "outcome": "retry",
                "error": fit(error),
                "error_code": error_code,
                "retry_in_s": fit(delay_s),
            }
        case Cancelled():
            return {"outcome": "cancelled"}
        case Released(reason, engine_lost):
            return {"outcome": "released", "error": fit(reason), "engine_lost": engine_lost}


def _as_is(value: Any) -> Any:
    return value


def clean(value: Any) -> Any:
    """Return a value as JSON that the database can store."""
    if isinstance(value, str):
        # PostgreSQL's text holds neither NUL nor half a surrogate pair.
        if "\0" in value:
            value = value.replace("\0", "\ufffd")
        return str(value) if value.isascii() else value.encode("utf-8", "replace").decode()
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [clean(item) for item in value]
    return clean(str(value))


def job_of(row: Row) -> Job:
    """Read a claimed row. The author's JSON may be anything, and never makes this fail."""
    return Job(
        id=uuid_of(row["id"]),
        user_id=None if row["user_id"] is None else uuid_of(row["user_id"]),
        job_type=row["job_type"],
        request=_request_of(row["metadata"]),
        claim_id=uuid_of(row["claim_id"]),
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        created_at=time_of(row["created_at"]),
        original_prompt=row["original_prompt"],
        hinted_s=row["hinted_s"],
        engine_losses=row["engine_losses"],
        queued_s=row["queued_s"],
        priority=row["priority"],
        foretold_s=row["foretold_s"],
    )


def _request_of(metadata: str | None) -> Any:
    # What can't be read fails as any request that isn't an object does: this job alone, with its
    # own message.
    return {} if metadata is None else json_of(metadata)


def json_of(text: str) -> Any:
    """Read JSON of whatever size and depth; what is nested too deeply stays text."""
    try:
        if not _LONGER_INT.search(text):
            return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        # The other reader takes more: numbers beyond a float's range.
        pass
    try:
        return json.loads(text, parse_int=_int)
    except (ValueError, RecursionError):
        return text


def _int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INT else float(digits)


def lease_states(rows: Sequence[Row]) -> dict[UUID, LeaseState]:
    """Read the answer of `renew_leases` and `report_progress`."""
    return {uuid_of(row["claim_id"]): LeaseState(row["state"]) for row in rows}


def recorded(rows: Sequence[Row]) -> dict[UUID, Recorded]:
    """Read the answer of `finish_jobs`."""
    return {uuid_of(row["claim_id"]): Recorded(row["state"]) for row in rows}


def sweep_result(row: Row) -> SweepResult:
    """Read the answer of `sweep_jobs`."""
    return SweepResult(row["rescued"], row["failed"], row["next_due_s"])


def backlog_of(row: Row) -> Backlog:
    """Read a row of `queue_summary`."""
    return Backlog(row["job_type"], row["queued"], row["processing"], row["oldest_queued_s"])


def canary_of(row: Row) -> Canary:
    """Read what `beat_canary` answers."""
    return Canary(row["serial"], row["age_s"], broadcast=row["broadcast"])


def arrival_of(row: Row) -> Arrival:
    """Read a row of `export_trace`."""
    return Arrival(
        arrived_s=row["arrived_s"],
        job_type=row["job_type"],
        user=row["user_number"],
        priority=row["priority"],
        run_s=row["run_s"],
        completed=row["completed"],
    )


def uuid_of(value: UUID | str) -> UUID:
    """Read an id."""
    # asyncpg's own class compares equal, but prints and pickles as another.
    return UUID(value) if isinstance(value, str) else UUID(int=value.int)


def time_of(value: datetime | str) -> datetime:
    """Read a moment."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value
