"""What a row's changes are to those who follow it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from scripted_desk import CREATED, a_row

from daemon.job_rows import JobRow
from daemon.server.row_events import news

QUEUED = a_row()
RUNNING = replace(
    QUEUED, status="processing", attempts=1, started_at=CREATED, progress=40, current_step="drawing"
)


def told(before: JobRow | None, now: JobRow) -> list[tuple[int, str, Any]]:
    """Return numbers, kinds, and what matters of the data."""
    return [
        (event.number, event.kind.value, event.data.get("reason") or event.data["status"])
        for event in news(before, now)
    ]


def test_the_first_look_tells_how_it_stands() -> None:
    """In the live feed's words, with the status beside them."""
    [event] = news(None, replace(RUNNING, estimated_completion=CREATED + timedelta(seconds=9)))

    assert (event.number, event.kind.value, event.as_json()) == (
        0,
        "step",
        {
            "current_step": "drawing",
            "progress": 40,
            "step": None,
            "steps": None,
            "estimated_completion": "2026-03-01T12:00:09+00:00",
            "status": "processing",
        },
    )


def test_what_says_nothing_new_is_not_told() -> None:
    """A column that isn't shown has changed."""
    assert news(RUNNING, replace(RUNNING, max_attempts=9)) == []
    assert told(RUNNING, replace(RUNNING, progress=41)) == [(0, "step", "processing")]
    assert told(QUEUED, RUNNING) == [(0, "step", "processing")]


@pytest.mark.parametrize("before", [None, QUEUED, RUNNING])
@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_the_end_is_all_that_is_told(before: JobRow | None, status: str) -> None:
    """However the row got there."""
    assert told(before, replace(RUNNING, status=status)) == [(0, "end", status)]


def test_only_a_completed_job_has_a_result() -> None:
    """As the live feed's end has it; the error shows no secret."""
    done = replace(RUNNING, status="completed", result={"response": "Hi"})
    failed = replace(
        RUNNING, status="failed", error="bearer abcdefgh12345678", error_code="NETWORK_ERROR"
    )

    assert news(None, done)[0].data == {
        "status": "completed", "error": None, "error_code": None, "result": {"response": "Hi"}
    }  # fmt: skip
    data = news(None, failed)[0].data
    assert set(data) == {"status", "error", "error_code"}
    assert "abcdefgh" not in data["error"]


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (replace(QUEUED, attempts=0), "released"),
        (replace(QUEUED, attempts=1), "retried"),
        (replace(RUNNING, attempts=1, started_at=CREATED + timedelta(seconds=1)), "released"),
        (replace(RUNNING, attempts=2, started_at=CREATED + timedelta(seconds=1)), "retried"),
    ],
    ids=["released", "retried", "released and taken", "retried and taken"],
)
def test_a_job_that_left_its_worker_begins_anew(now: JobRow, reason: str) -> None:
    """A release gives the attempt back; what happened between two looks shows by it."""
    assert told(RUNNING, now) == [(0, "restarted", reason), (0, "step", now.status)]


def test_words_of_an_existing_table_are_shown_as_they_are() -> None:
    """A row that isn't queued by our words may still become a job."""
    assert told(None, replace(QUEUED, status="pending")) == [(0, "step", "pending")]
