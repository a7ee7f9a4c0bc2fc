"""What the ends of runs are counted as."""

import logging
from dataclasses import dataclass, field
from typing import Any

import pytest
from scripted import a_job

from daemon.job_run import JobRun
from daemon.jobs import Completed, ErrorCode, Failed, Outcome, Recorded
from daemon.run_events import RunEvents
from daemon.telemetry import logs
from daemon.telemetry.metrics import Metrics
from daemon.values import RunOutput


@dataclass
class Foreteller:
    """Hears of ends."""

    outcomes: list[Outcome | None] = field(default_factory=list)

    def ended(self, run: JobRun, outcome: Outcome | None) -> None:
        self.outcomes.append(outcome)


def rate_after(*results: Any) -> float | None:
    metrics = Metrics()
    events = RunEvents(metrics, Foreteller())
    for result in results:
        outcome = Completed(result) if isinstance(result, dict) else result
        events.run_ended(JobRun(a_job(), 0.0, lambda: 1.0), outcome, Recorded.RECORDED)
    return metrics.performance().system_prompt_respect_rate


RESPECTED = {"response": "Hi", "no_override_detected": True}
OVERRIDDEN = {"response": "Hi", "no_override_detected": False}


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([], None),
        ([{"image_url": "u"}, Failed("no", ErrorCode.GENERATION_FAILED), None], None),
        ([RESPECTED, {"image_url": "u"}], 100.0),
        ([RESPECTED, OVERRIDDEN, RESPECTED, RESPECTED], 75.0),
        ([{"no_override_detected": "yes"}], 0.0),
    ],
    ids=["nothing", "no text", "respected", "once not", "untold"],
)
def test_results_of_language_models_say_whether_the_prompt_was_respected(
    results: list[Any], expected: float | None
) -> None:
    """Others say nothing of it, nor do runs without a result."""
    assert expected == rate_after(*results)


def test_memory_of_runs_is_shown_by_model() -> None:
    """The last measured peak, and each time that it wasn't enough."""
    metrics = Metrics()
    events = RunEvents(metrics, Foreteller())
    run = JobRun(a_job(job_type="image_high"), 0.0, lambda: 1.0)

    for peak in (7, 5, None):
        events.generated(run, RunOutput({}, [], peak, {}))
    events.ran_out_of_memory(run)

    sample = metrics.registry.get_sample_value
    assert sample("ourvidz_model_peak_bytes", {"model": "wan"}) == 5
    assert sample("ourvidz_out_of_memory_total", {"model": "wan", "during": "run"}) == 1


@pytest.mark.parametrize(
    ("outcome", "event", "level"),
    [
        (Completed({}), "job completed", "INFO"),
        (Failed("no", ErrorCode.GENERATION_FAILED), "job failed", "ERROR"),
    ],
)
@pytest.mark.usefixtures("restored_logging")
def test_the_log_says_how_long_a_job_took(
    caplog: pytest.LogCaptureFixture, outcome: Outcome, event: str, level: str
) -> None:
    """From when its row was due: all phases, and nothing of what is told beside them."""
    run = JobRun(a_job(), 0.0, lambda: 1.0)
    run.timings |= {"queue": 1.0, "vram": 0.0, "running": 2.5, "finishing": 0.25, "engine_x": 9.0}
    with caplog.at_level("INFO", "daemon.jobs"):
        logs.configure()
        logging.getLogger().addHandler(caplog.handler)
        RunEvents(Metrics(), Foreteller()).run_ended(run, outcome, Recorded.RECORDED)

    [record] = [each for each in caplog.records if each.name == "daemon.jobs"]
    assert (record.getMessage(), record.levelname) == (event, level)
    fields = getattr(record, "fields", {})
    assert (fields["attempt"], fields["seconds"]) == (1, 3.75)
