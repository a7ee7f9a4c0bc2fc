"""Answers that are given again, and how many are kept."""

import pytest

from daemon.server.replays import KEPT_S, Kept, Replays, Standing

A, B = b"a" * 32, b"b" * 32
NAME = ("edge", "key")


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def replays(clock: Clock) -> Replays:
    return Replays(clock, max_kept=3, max_bytes=100, max_answer=60)


def answer(size: int = 2) -> Kept:
    return Kept(200, {"Content-Type": "application/json"}, b"x" * size)


def keep(replays: Replays, key: str, size: int = 2) -> None:
    assert replays.begin(("edge", key), A) is Standing.NEW
    replays.end(("edge", key), answer(size))


def test_an_answer_is_given_again(replays: Replays) -> None:
    """As it was, as often as it is asked for."""
    keep(replays, "key")

    assert [replays.begin(NAME, A) for _ in range(3)] == [answer()] * 3


def test_the_first_holds_the_others_off(replays: Replays) -> None:
    """Until it has ended nobody else runs it."""
    assert replays.begin(NAME, A) is Standing.NEW
    assert [replays.begin(NAME, A) for _ in range(3)] == [Standing.UNDER_WAY] * 3


@pytest.mark.parametrize("ended", [False, True])
def test_another_request_is_told_apart(replays: Replays, ended: bool) -> None:
    """While the first is under way and after it."""
    replays.begin(NAME, A)
    if ended:
        replays.end(NAME, answer())

    assert replays.begin(NAME, B) is Standing.OTHER


def test_a_failure_is_forgotten(replays: Replays) -> None:
    """Its repeat runs, and may be another request."""
    replays.begin(NAME, A)
    replays.end(NAME, None)

    assert replays.begin(NAME, B) is Standing.NEW
    assert len(replays) == 0


def test_callers_dont_share_keys(replays: Replays) -> None:
    """Nobody is given what another one was answered."""
    keep(replays, "key")

    assert replays.begin(("other", "key"), A) is Standing.NEW


def test_answers_are_kept_for_a_day(replays: Replays, clock: Clock) -> None:
    """To the second, counted from the answer."""
    replays.begin(NAME, A)
    clock.now += 100
    replays.end(NAME, answer())

    clock.now += KEPT_S - 1
    assert replays.begin(NAME, A) == answer()
    clock.now += 1
    assert replays.begin(NAME, A) is Standing.NEW
    assert (len(replays), replays.bytes) == (0, 0)


def test_the_oldest_go_when_there_are_many(replays: Replays) -> None:
    """One that is given again doesn't grow younger by it: it was kept first."""
    for key in ("1", "2", "3"):
        keep(replays, key)
    replays.begin(("edge", "1"), A)
    keep(replays, "4")

    assert replays.begin(("edge", "1"), A) is Standing.NEW
    assert [replays.begin(("edge", key), A) for key in ("2", "3", "4")] == [answer()] * 3
    assert len(replays) == 3


def test_the_oldest_go_when_they_are_large(replays: Replays) -> None:
    """All bodies together have a bound."""
    for key in ("1", "2"):
        keep(replays, key, 50)
    assert (len(replays), replays.bytes) == (2, 100)
    keep(replays, "3", 51)

    assert (len(replays), replays.bytes) == (1, 51)
    assert replays.begin(("edge", "3"), A) == answer(51)


def test_one_that_is_too_large_is_not_kept(replays: Replays) -> None:
    """It would drive out all others."""
    keep(replays, "small", 2)
    keep(replays, "large", 61)

    assert replays.begin(("edge", "large"), A) is Standing.NEW
    assert replays.begin(("edge", "small"), A) == answer(2)
