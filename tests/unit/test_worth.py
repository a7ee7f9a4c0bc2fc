"""Whether a batch is faster than its parts is measured, and then decided."""

import pytest

from handlers.worth import Worth


def measured(seconds: dict[int, float]) -> Worth:
    """Return what has timings enough of these numbers."""
    worth = Worth()
    for number, each in seconds.items():
        for slower in (9.0, 3.0, 0.0):
            worth.note(number, each + slower)
    return worth


def test_what_is_unknown_is_tried() -> None:
    """First the single calls, then each number together, until the timings are enough."""
    worth = Worth()
    assert worth.wants(2)
    assert worth.open(1)

    for _ in range(3):
        worth.note(1, 1.0)

    assert not worth.open(1)
    assert worth.wants(2)
    assert worth.open(2)


@pytest.mark.parametrize(
    ("pair_s", "wanted"), [(1.0, True), (1.93, True), (1.95, False), (2.0, False), (3.0, False)]
)
def test_the_shortest_timings_decide(pair_s: float, *, wanted: bool) -> None:
    """A gain of less than 3 % isn't worth other bytes."""
    assert measured({1: 1.0, 2: pair_s}).wants(2) is wanted


def test_numbers_are_judged_each_by_itself() -> None:
    """Two may be worth it where four aren't."""
    worth = measured({1: 1.0, 2: 1.5, 4: 4.5})

    assert worth.wants(2)
    assert not worth.wants(4)
    assert not worth.wants(1)


def test_what_failed_is_not_tried_again() -> None:
    """Nor what is larger; what is smaller stays."""
    worth = measured({1: 1.0, 2: 1.5, 3: 2.0, 4: 2.5})

    worth.refuse(3)

    assert [worth.wants(number) for number in (2, 3, 4)] == [True, False, False]


def test_the_longest_timing_says_how_long_to_wait() -> None:
    """Nothing is known at first."""
    assert Worth().expected_s() == 0.0
    assert measured({1: 1.0, 2: 1.5}).expected_s() == 10.5
