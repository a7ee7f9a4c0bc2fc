"""What a broker is told of jobs: where they are, how they end, and nothing of what is in them."""

import json
from typing import Any

import pytest
from scripted import a_job

from daemon.job_run import JobRun
from daemon.jobs import (
    Cancelled,
    Completed,
    ErrorCode,
    Failed,
    Outcome,
    Recorded,
    Released,
    Retry,
)
from daemon.telemetry.mqtt import messages
from daemon.values import StepReport

WORDS = "a zanzibarquokka at night"


def a_run(**changes: Any) -> JobRun:
    return JobRun(a_job(request={"prompt": WORDS}, **changes), 0.0, lambda: 2.0)


@pytest.mark.parametrize(
    ("outcome", "recorded", "expected"),
    [
        (Completed({"response": WORDS}), Recorded.RECORDED, ("completed", "completed", None)),
        (Failed(WORDS, ErrorCode.INVALID_PROMPT), Recorded.RECORDED,
         ("failed", "failed", "INVALID_PROMPT")),
        (Retry(WORDS, ErrorCode.NETWORK_ERROR, 1.0), Recorded.RECORDED,
         ("retry", "queued", "NETWORK_ERROR")),
        (Released(WORDS), Recorded.RECORDED, ("released", "queued", None)),
        (Cancelled(), Recorded.RECORDED, ("cancelled", "cancelled", None)),
        (Completed({"response": WORDS}), Recorded.STALE, ("lost", "processing", None)),
        (None, None, ("lost", "processing", None)),
    ],
)  # fmt: skip
def test_every_end_is_told(
    outcome: Outcome | None, recorded: Recorded | None, expected: tuple[str, str, str | None]
) -> None:
    """With its outcome, the row's status, and the error's code."""
    told = messages.end(a_run(), outcome, recorded, with_user=False)
    body = json.loads(told)

    assert (body["outcome"], body["status"], body["error_code"]) == expected
    assert WORDS.encode() not in told


def test_a_retry_without_an_attempt_left_is_a_failure() -> None:
    """As the database has it."""
    outcome = Retry("away", ErrorCode.NETWORK_ERROR, 1.0)
    told = messages.end(a_run(attempt=3), outcome, Recorded.RECORDED, with_user=False)

    assert json.loads(told)["status"] == "failed"


@pytest.mark.parametrize("with_user", [False, True])
def test_a_step_says_how_far_it_is(with_user: bool) -> None:
    """Not what is new of an answer or a picture; and whose it is only if asked."""
    run = a_run()
    report = StepReport("generating_text", 0.5, 4, 8, text=WORDS, preview=b"jpeg")
    run.progress_of(report)
    body = json.loads(messages.step(run, report, with_user=with_user))

    assert (body["event"], body["progress"], body["current_step"]) == (
        "step",
        50,
        "generating_text",
    )
    assert (body["step"], body["steps"], body["job_id"]) == (4, 8, str(run.job.id))
    assert body.get("user_id") == (str(run.job.user_id) if with_user else None)
    assert WORDS not in str(body)


def test_secrets_are_taken_out() -> None:
    """Reasons and errors come from libraries as they are."""
    told = messages.presence("online", "at postgres://u:hunter2@db", {})

    assert b"hunter2" not in told
