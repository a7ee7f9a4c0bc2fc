"""Names of topics, and where answers may be sent."""

from uuid import UUID

import pytest

from daemon.telemetry.mqtt.topics import Topics

TOPICS = Topics("ourvidz", "gpu-1")


def test_all_of_a_worker_is_below_its_name() -> None:
    """So that one rule of the broker covers it."""
    assert [TOPICS.status, TOPICS.telemetry, TOPICS.control, TOPICS.answers] == [
        "ourvidz/gpu-1/status",
        "ourvidz/gpu-1/telemetry",
        "ourvidz/gpu-1/control",
        "ourvidz/gpu-1/control/ack",
    ]
    assert TOPICS.job(UUID(int=1)) == "ourvidz/gpu-1/jobs/00000000-0000-0000-0000-000000000001"


@pytest.mark.parametrize(
    ("name", "level"),
    [("a/b", "a_b"), ("+", "_"), ("#", "_"), ("$SYS", "_SYS"), ("", "_"), ("a\nb\0", "a_b_")],
)
def test_a_name_is_one_level(name: str, level: str) -> None:
    """Whatever it is made of, it can't reach into another's topics."""
    assert Topics("p", name).status == f"p/{level}/status"


@pytest.mark.parametrize("asked", ["replies/me", "ourvidz-replies", "/x"])
def test_an_answer_goes_where_it_is_asked_for(asked: str) -> None:
    """To any topic of the asker's own."""
    assert TOPICS.answer_to(asked) == asked


@pytest.mark.parametrize(
    "asked",
    [
        None, "", "ourvidz", "ourvidz/gpu-1/status", "ourvidz/gpu-2/control", "$SYS/broker",
        "replies/#", "replies/+/x", "a\0b", "x" * 257,
    ],
)  # fmt: skip
def test_an_answer_never_passes_for_something_else(asked: str | None) -> None:
    """Then it goes to the worker's own topic for answers."""
    assert TOPICS.answer_to(asked) == TOPICS.answers
