"""The jobs that are held, one by one, as `/status` shows them. No prompt, no user."""

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from daemon.job_run import JobRun, Phase
from daemon.scheduling.snapshot import SchedulerSnapshot

if TYPE_CHECKING:
    from daemon.parts import Parts


def job_reports(parts: "Parts") -> list[dict[str, Any]]:
    """Return each held job: where it is, where its time went, why it waits, when it should end."""
    snapshot = parts.admissions.snapshot()
    waits = {each.request_id: each for each in snapshot.waiting}
    lanes = {
        (each.model, each.quality, each.interactive, each.exclusive): each.why
        for each in snapshot.lanes
    }
    places = _places(snapshot)
    all_shown = len(waits) == sum(lane.waiting for lane in snapshot.lanes)
    reports = []
    for request_id, run in parts.executor.runs.items():
        waiting = waits.get(request_id)
        why = None
        if waiting is not None:
            why = lanes[waiting.model, waiting.quality, waiting.interactive, waiting.exclusive]
            if waiting.ahead:
                why += f"; {waiting.ahead} of its class go{'es' * (waiting.ahead == 1)} first"
        elif run.phase is Phase.WAITING and request_id not in places and all_shown:
            why = _waits_elsewhere(run)
        reports.append(
            {
                "job_id": str(run.job.id),
                "job_type": run.job.job_type,
                "attempt": run.job.attempt,
                "phase": run.phase.value,
                "progress": run.percent,
                "current_step": run.last_step or None,
                "device": places.get(request_id),
                "held_s": round(time.monotonic() - run.claimed_at, 3),
                "waits_for": why,
                "ahead": waiting.ahead if waiting else None,
                "waited_s": waiting.waited_s if waiting else run.waits._asdict(),
                "timings": run.rounded_account(),
                "estimated_completion": _moment(run),
            }
        )
    return reports


def _places(snapshot: SchedulerSnapshot) -> dict[str, int]:
    return {
        run.request_id: device.device
        for device in snapshot.devices
        for placement in device.placements
        for run in placement.runs
    }


def _waits_elsewhere(run: JobRun) -> str:
    """Say why a job waits that the scheduler doesn't know of yet."""
    if run.job.engine_losses:
        return "its model's engine must be free of other jobs, since it may have ended one"
    return "another job has its model's engine for itself"


def _moment(run: JobRun) -> str | None:
    if run.ends_at is None:
        return None
    left_s = max(0.0, run.ends_at - time.monotonic())
    return (datetime.now(UTC) + timedelta(seconds=left_s)).isoformat(timespec="seconds")
