"""When a worker holds back. Time and chance are given."""

import pytest

from daemon.restraint import Restraint


def in_vain(times: int, *, random: float = 1.0) -> Restraint:
    restraint = Restraint(random=lambda: random)
    for number in range(times):
        restraint.looked(0, now=10 + number / 100)
    return restraint


@pytest.mark.parametrize(("times", "expected"), [(0, 0), (2, 0), (3, 0.004), (4, 0.008), (9, 0.05)])
def test_the_pause_grows_with_looks_in_vain(times: int, expected: float) -> None:
    """The first ones cost nothing: one row may be told of twice."""
    assert in_vain(times).pause_s(now=10.1) == pytest.approx(expected)


def test_the_pause_is_random() -> None:
    """Else the fleet would look as one again."""
    assert in_vain(9, random=0.5).pause_s(now=10.1) == pytest.approx(0.025)


def test_a_success_ends_it() -> None:
    """Whoever gets jobs goes on at once."""
    restraint = in_vain(9)
    restraint.looked(1, now=10.2)
    assert restraint.pause_s(now=10.2) == 0


def test_a_quiet_second_ends_it() -> None:
    """The next job after a burst isn't late."""
    restraint = in_vain(9)
    assert restraint.pause_s(now=11.2) == 0
    restraint.looked(0, now=11.2)
    assert restraint.pause_s(now=11.2) == 0


def test_a_long_burst_is_no_overflow() -> None:
    """A thousand looks in vain cost no more than fifty milliseconds."""
    assert in_vain(2000).pause_s(now=30) == pytest.approx(0.05)
