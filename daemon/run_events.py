"""What happens to jobs, as metrics and the log hear it: one call an act, both fed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import structlog

from daemon.job_run import JobRun
from daemon.jobs import Cancelled, Completed, Failed, Job, Outcome, Recorded, Released, Retry
from daemon.ports import SweepResult
from daemon.telemetry.metrics import Metrics

_PHASES = {"waiting": "admission", "running": "run", "uploading": "upload", "finishing": "finish"}

_log = structlog.get_logger("daemon.jobs")


@dataclass(frozen=True)
class RunEvents:
    """Implements `ExecutionEvents` and `IntakeEvents`."""

    metrics: Metrics

    def claimed(self, jobs: Sequence[Job]) -> None:
        """Count the jobs of one claim."""
        for job_type, count in Counter(job.job_type for job in jobs).items():
            self.metrics.jobs_claimed(job_type, count)

    def swept(self, result: SweepResult) -> None:
        """Count what a sweep took back."""
        self.metrics.swept(result.rescued, result.failed)

    def run_ended(self, run: JobRun, outcome: Outcome | None, recorded: Recorded | None) -> None:
        """Count and log the end of a run."""
        word = "lost" if recorded is not Recorded.RECORDED else word_of(outcome)
        code = outcome.error_code if isinstance(outcome, Failed | Retry) else None
        job = run.job
        seconds = run.timings.get("running", 0.0)
        self.metrics.job_finished(job.job_type, word, seconds, code)
        for phase, name in _PHASES.items():
            if phase in run.timings:
                self.metrics.job_phase(job.job_type, name, run.timings[phase])
        log = _log.warning if word in {"failed", "retry", "lost"} else _log.info
        log(
            f"job {word}",
            job_id=str(job.id),
            job_type=job.job_type,
            attempt=job.attempt,
            seconds=round(sum(run.timings.get(phase, 0.0) for phase in _PHASES), 3),
            **({"error": outcome.error} if isinstance(outcome, Failed | Retry) else {}),
        )


def word_of(outcome: Outcome | None) -> str:
    """Return an outcome's word in metrics and logs."""
    match outcome:
        case None:
            return "lost"
        case Completed():
            return "completed"
        case Failed():
            return "failed"
        case Retry():
            return "retry"
        case Cancelled():
            return "cancelled"
        case Released():
            return "released"
        case _:
            assert_never(outcome)
