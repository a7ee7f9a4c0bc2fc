"""The spans of a run follow from its account: the same seconds, one after another."""

from typing import Any
from uuid import UUID

import pytest
from scripted import a_job

from daemon.job_run import JobRun, Phase
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
from daemon.telemetry.tracing.plan import Plan, Span, planned, span_id_of
from daemon.values import NO_WAIT, Waits

UNIX_S = 1_767_225_600.0
"""What is added to the run's seconds: its job was inserted then, at its second 0."""

RESULT = {
    "response": "a quokka",
    "model_info": {"model_name": "Qwen"},
    "usage": {"prompt_tokens": 7, "completion_tokens": 9},
    "parameters": {"max_tokens": 100, "temperature": 0.5, "top_p": 0.9, "seed": 3},
}


class Life:
    """A run whose clock is told; it was claimed at second 100, and due at 90."""

    def __init__(self, **job: Any) -> None:
        self.now = 100.0
        facts = {"queued_s": 10.0, **job}
        self.run = JobRun(a_job(**facts), 100.0, lambda: self.now, open_s=4.0)

    def at(self, now: float) -> JobRun:
        self.now = now
        return self.run

    def through(self) -> "Life":
        """Ask at 101, be granted at 110, run until 120, upload until 122, be recorded at 123."""
        self.at(101).enter(Phase.WAITING)
        self.run.asks_for_gpu()
        self.at(110).waited_for_gpu(Waits(**{**NO_WAIT._asdict(), "vram": 2, "load": 5}))
        self.run.enter(Phase.RUNNING)
        self.at(120).enter(Phase.UPLOADING)
        self.at(122).enter(Phase.FINISHING)
        self.at(123).enter(Phase.FINISHING)
        return self

    def plan(self, outcome: Outcome | None, recorded: Recorded | None = Recorded.RECORDED) -> Plan:
        return planned(self.run, outcome, recorded, UNIX_S)


def seen(spans: list[Span]) -> list[tuple[str, float, float]]:
    return [(each.name, each.start - UNIX_S, each.end - UNIX_S) for each in spans]


def test_a_job_is_told_from_insert_to_finish() -> None:
    """Each second once, in the order in which it passed."""
    plan = Life().through().plan(Completed(RESULT))

    assert plan.job is not None
    assert seen([plan.job, plan.attempt]) == [("job chat", 0, 123), ("attempt", 90, 123)]
    assert seen(plan.attempt.children) == [
        ("queue", 90, 96),
        ("wake_up", 96, 101),
        ("queue", 101, 103),
        ("vram", 103, 105),
        ("load", 105, 110),
        ("run", 110, 120),
        ("upload", 120, 122),
        ("finish", 122, 123),
    ]


def test_a_run_s_span_has_opentelemetry_s_names() -> None:
    """Model, tokens and parameters, and nothing of what was said."""
    plan = Life().through().plan(Completed(RESULT))
    [run] = [each for each in plan.attempt.children if each.name == "run"]

    assert run.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ourvidz",
        "gen_ai.request.model": "Qwen",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 9,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.seed": 3,
    }


@pytest.mark.parametrize(
    ("outcome", "recorded", "ends_job", "error"),
    [
        (Completed({}), Recorded.RECORDED, True, None),
        (Cancelled(), Recorded.RECORDED, True, None),
        (Failed("quokka", ErrorCode.INVALID_PROMPT), Recorded.RECORDED, True, "INVALID_PROMPT"),
        (Retry("away", ErrorCode.NETWORK_ERROR, 1), Recorded.RECORDED, False, "NETWORK_ERROR"),
        (Released("stopping"), Recorded.RECORDED, False, None),
        (Released("died", engine_lost=True), Recorded.RECORDED, False, "engine_lost"),
        (Completed({}), Recorded.STALE, False, "lost"),
        (None, None, False, "lost"),
    ],
)
def test_the_run_that_ends_a_job_tells_of_it(
    outcome: Outcome | None, recorded: Recorded | None, ends_job: bool, error: str | None
) -> None:
    """Others tell of themselves alone; an error is told by its code."""
    plan = Life().through().plan(outcome, recorded)

    assert (plan.job is not None) is ends_job
    assert plan.attempt.error == error
    assert plan.job is None or plan.job.error == error


def test_the_last_retry_is_a_failure() -> None:
    """As the database has it: nobody else will tell of the job."""
    plan = Life(attempt=3).through().plan(Retry("away", ErrorCode.NETWORK_ERROR, 1))

    assert plan.job is not None
    assert plan.job.attributes["ourvidz.outcome"] == "failed"


def test_a_second_rung_and_a_rewritten_prompt_have_spans_of_their_own() -> None:
    """Whatever is waited for and run twice is told twice."""
    life = Life(queued_s=0.0)
    life.run.preparing = True
    life.at(100).enter(Phase.WAITING)
    life.run.asks_for_gpu()
    life.at(102).waited_for_gpu(Waits(**{**NO_WAIT._asdict(), "queue": 2}))
    life.run.enter(Phase.RUNNING)
    life.at(105)
    life.run.preparing = False
    life.run.enter(Phase.WAITING)
    life.at(106).waited_for_gpu(Waits(**{**NO_WAIT._asdict(), "switch": 1}))
    life.run.enter(Phase.RUNNING)
    life.at(110).enter(Phase.FINISHING)
    plan = life.plan(Failed("no", ErrorCode.VRAM_OVERFLOW))

    assert seen(plan.attempt.children) == [
        ("wake_up", 100, 100),
        ("queue", 100, 102),
        ("enhance", 102, 105),
        ("switch", 105, 106),
        ("run", 106, 110),
    ]


def test_a_job_that_was_refused_at_once_has_no_holes() -> None:
    """It never asked for the GPU."""
    life = Life(queued_s=0.0)
    life.at(101).enter(Phase.FINISHING)
    life.at(102).enter(Phase.FINISHING)

    assert seen(life.plan(Failed("no", ErrorCode.INVALID_PROMPT)).attempt.children) == [
        ("wake_up", 100, 101),
        ("finish", 101, 102),
    ]


def test_each_attempt_names_the_job_s_span_alike() -> None:
    """And each job another."""
    job = UUID(int=7)
    first, second = (Life(id=job, attempt=number).run for number in (1, 2))

    assert span_id_of(first) == span_id_of(second) != span_id_of(Life().run)
