"""What is said: presence, telemetry and jobs' events, as JSON. Pure.

Nothing here repeats what a user wrote or got: no prompt, no result, no text of an error.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from daemon.job_run import JobRun
from daemon.jobs import Failed, Job, Outcome, Recorded, Retry
from daemon.run_events import word_of
from daemon.server.reports import Status
from daemon.telemetry.redaction import redact_value
from daemon.values import StepReport

State = Literal["online", "draining", "offline"]

_AFTER: Mapping[str, str] = {
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "retry": "queued",
    "released": "queued",
    "lost": "processing",
}
"""What is known of the row's status after a run; a lost one is somebody else's."""


def encoded(body: Mapping[str, Any]) -> bytes:
    """Return a payload: JSON without secrets."""
    return msgspec.json.encode(redact_value(body))


def presence(state: State, reason: str, about: Mapping[str, Any]) -> bytes:
    """Return the retained status; `about`: worker and instance, the same for its whole life."""
    return encoded({"state": state, "reason": reason, **about})


def telemetry(status: Status, state: State, counts: Mapping[str, int]) -> bytes:
    """Return what `/status` tells in short."""
    health, done = status.health, status.performance
    backlogs = status.queue
    return encoded(
        {
            "ts": _now(),
            "worker_id": status.worker_id,
            "version": status.version,
            "state": state,
            "uptime": int(health.uptime_s),
            "reasons": list(health.reasons),
            "active_jobs": health.active_jobs,
            "performance": asdict(done),
            "models": {str(model): report.state for model, report in health.models.items()},
            "gpus": [asdict(gpu) for gpu in health.gpus],
            "queue": None
            if backlogs is None
            else {
                "queued": sum(each.queued for each in backlogs),
                "processing": sum(each.processing for each in backlogs),
                "oldest_queued_s": max((each.oldest_queued_s or 0 for each in backlogs), default=0),
            },
            "leases": {"held": status.leases.held, "lost": status.leases.lost},
            "mqtt": counts,
        }
    )


def step(run: JobRun, report: StepReport, *, with_user: bool) -> bytes:
    """Return how far a job is."""
    expected = run.progress().estimated_completion
    return encoded(
        {
            **_job(run.job, run, with_user=with_user),
            "event": "step",
            "status": "processing",
            "progress": run.percent,
            "current_step": report.current_step,
            "step": report.step,
            "steps": report.steps,
            "estimated_completion": None if expected is None else expected.isoformat(),
        }
    )


def end(
    run: JobRun, outcome: Outcome | None, recorded: Recorded | None, *, with_user: bool
) -> bytes:
    """Return how a run ended, and in which status the row is now."""
    word = word_of(outcome) if recorded is Recorded.RECORDED else "lost"
    failure = outcome if isinstance(outcome, Failed | Retry) else None
    exhausted = isinstance(outcome, Retry) and run.job.attempt >= run.job.max_attempts
    return encoded(
        {
            **_job(run.job, run, with_user=with_user),
            "event": "end",
            "outcome": word,
            "status": "failed" if word == "retry" and exhausted else _AFTER[word],
            "error_code": None if failure is None else failure.error_code.value,
            "timings": {name: round(value, 3) for name, value in run.account().items()},
        }
    )


def _job(job: Job, run: JobRun, *, with_user: bool) -> dict[str, Any]:
    user = {"user_id": None if job.user_id is None else str(job.user_id)} if with_user else {}
    return {"ts": _now(), **run.log_fields(), "attempt": job.attempt, **user}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
