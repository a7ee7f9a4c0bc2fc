"""What happens to jobs, as metrics and the log hear it: one call an act, both fed."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import structlog

from daemon.foretelling import Foreteller
from daemon.job_run import JobRun
from daemon.jobs import Cancelled, Completed, Failed, Job, Outcome, Recorded, Released, Retry
from daemon.telemetry.logs import excerpt
from daemon.telemetry.metrics import Metrics
from daemon.telemetry.plain_lines import PlainLines
from daemon.telemetry.prompts import PROMPTS
from daemon.telemetry.series.labels import class_of
from daemon.values import RunOutput, StepReport, SweepResult

_PHASES = {
    "wake_up": "wake_up",
    "queue": "queue",
    "vram": "vram",
    "switch": "switch",
    "load": "load",
    "running": "run",
    "uploading": "upload",
    "finishing": "finish",
}
"""Where a job's time went, by the names in its timings and in metrics."""

_RARE = frozenset({"vram", "switch", "load"})
"""Most jobs don't wait for these at all, and then they aren't timed."""

Onlooker = Callable[[JobRun, StepReport], None]
"""Takes each step of each run. It must not block, nor raise."""

Ender = Callable[[JobRun, Outcome | None, Recorded | None], None]
"""Takes the end of each run, as `run_ended` does. It must not block, nor raise."""

_RESPECTED = "no_override_detected"
"""The field of a language model's result that says so."""

_log = structlog.get_logger("daemon.jobs")
_plain = PlainLines("daemon.jobs")


@dataclass(frozen=True)
class RunEvents:
    """Implements `ExecutionEvents` and `IntakeEvents`."""

    metrics: Metrics
    foreteller: Foreteller
    onlookers: Sequence[Onlooker] = ()
    enders: Sequence[Ender] = ()

    def claimed(self, jobs: Sequence[Job]) -> None:
        """Count the jobs of one claim."""
        for job_type, count in Counter(job.job_type for job in jobs).items():
            self.metrics.jobs_claimed(job_type, count)

    def swept(self, result: SweepResult) -> None:
        """Count what a sweep took back."""
        self.metrics.swept(result.rescued, result.failed)

    def run_began(self, run: JobRun) -> None:
        """Log the beginning of a run."""
        _plain.info("processing job", run)

    def resolved(self, run: JobRun, params: Mapping[str, Any]) -> None:
        """Log the beginning of a system prompt, or its length, where prompts may be shown."""
        del run
        if PROMPTS.shown == "false" or not (prompt := _system_prompt(params)):
            return
        beginning = {"prompt": excerpt(prompt)} if PROMPTS.shown == "full" else {}
        _log.info("using system prompt", characters=len(prompt), **beginning)

    def stepped(self, run: JobRun, report: StepReport) -> None:
        """Let those hear who look on."""
        for onlooker in self.onlookers:
            onlooker(run, report)

    def generated(self, run: JobRun, output: RunOutput) -> None:
        """Show what the engine used."""
        if output.peak_bytes is not None:
            self.metrics.memory.peak(class_of(run.job.job_type)[0], output.peak_bytes)

    def ran_out_of_memory(self, run: JobRun) -> None:
        """Count it, whatever becomes of the job."""
        self.metrics.engines.out_of_memory(class_of(run.job.job_type)[0], "run")

    def run_ended(self, run: JobRun, outcome: Outcome | None, recorded: Recorded | None) -> None:
        """Count and log the end of a run, and let those hear who look on."""
        for ender in self.enders:
            ender(run, outcome, recorded)
        self.foreteller.ended(run, outcome if recorded is Recorded.RECORDED else None)
        word = "lost" if recorded is not Recorded.RECORDED else word_of(outcome)
        error = outcome if isinstance(outcome, Failed | Retry) else None
        lost_engine = isinstance(outcome, Released) and outcome.engine_lost
        job_type, timings = run.job.job_type, run.timings
        seconds = timings.get("running", 0.0)
        self.metrics.job_finished(job_type, word, seconds, error.error_code if error else None)
        if isinstance(outcome, Completed) and _RESPECTED in outcome.result:
            self.metrics.respect.used(respected=outcome.result[_RESPECTED] is True)
        whole_s = 0.0
        for phase, name in _PHASES.items():
            if phase in timings and (timings[phase] or phase not in _RARE):
                self.metrics.job_phase(job_type, name, timings[phase])
                whole_s += timings[phase]
        bad = lost_engine or word in {"failed", "retry", "lost"}
        level = logging.ERROR if word == "failed" else logging.WARNING if bad else logging.INFO
        reason = outcome.reason if isinstance(outcome, Released) else None
        _say(run, word, level, whole_s, reason if error is None else error.error)


def _system_prompt(params: Mapping[str, Any]) -> str:
    messages = params.get("messages") or ()
    return "\n".join(each["content"] for each in messages if each["role"] == "system")


def _say(run: JobRun, word: str, level: int, whole_s: float, reason: str | None) -> None:
    event, attempt, seconds = f"job {word}", run.job.attempt, round(whole_s, 3)
    if level == logging.INFO and reason is None:
        _plain.info(event, run, attempt, seconds)
        return
    error = {} if reason is None else {"error": reason}
    _log.log(level, event, attempt=attempt, seconds=seconds, **error)


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
