"""From expected to promised: four of five promises are kept, whatever becomes of them."""

import math
import random
from collections.abc import Callable

import pytest

from daemon.scheduling.calibration import (
    FIRST_FACTOR,
    PROMISED_SHARE,
    Calibration,
    Correction,
    Count,
)

Draw = random.Random


def test_promises_start_with_a_margin() -> None:
    """Until enough jobs have ended."""
    calibration = Calibration()
    assert (calibration.factor, calibration.coverage) == (1.25, None)
    for _ in range(9):
        calibration.observe(10, 12.5, 10)

    assert (calibration.factor, calibration.coverage) == (1.25, 1.0)


def test_promises_follow_what_became_of_earlier_ones() -> None:
    """Four of five jobs took at most twice as long as expected: that is what is promised."""
    calibration = Calibration()
    for number in range(100):
        calibration.observe(10, 10 * calibration.factor, 20 if number % 10 else 60)
    assert calibration.factor == 2


def test_no_promise_is_absurd() -> None:
    """Within a half and four times of what is expected, also for what takes no time."""
    late, early = Calibration(), Calibration()
    for _ in range(20):
        late.observe(1, 1, 1e6)
        early.observe(0.0, 1, 0.001)

    assert (late.factor, early.factor) == (4.0, 0.5)
    assert not math.isnan(late.coverage or 0)


RATIOS: dict[str, Callable[[Draw, int], float]] = {
    "spread": lambda draw, _: draw.uniform(0.5, 1.5),
    # As of runs that know their own pace: the difference is of milliseconds, and it has a trend.
    "close": lambda draw, number: 1 + 0.00002 * number + draw.uniform(-0.001, 0.001),
    "slower and slower": lambda draw, number: 1 + number / 500 + draw.uniform(-0.1, 0.1),
    "each the slowest so far": lambda _, number: 0.6 * 1.0015**number,
    "rarely late": lambda draw, _: 3.0 if draw.random() < 0.1 else 0.9,
}


@pytest.mark.parametrize("how", RATIOS)
def test_the_promised_share_is_kept_in_the_long_run(how: str) -> None:
    """Also where the ratios drift, and where they are so close that the quantile alone misses."""
    calibration, draw = Calibration(), random.Random(1)
    for number in range(1000):
        ratio = RATIOS[how](draw, number)
        calibration.observe(10, 10 * calibration.factor, 10 * ratio)

    least = PROMISED_SHARE - 0.02
    assert calibration.coverage is not None
    assert least < calibration.coverage < (1 if how == "rarely late" else PROMISED_SHARE + 0.05)


@pytest.mark.parametrize("centre", [0.8, 1.0, 2.5])
def test_a_factor_is_corrected_by_what_was_kept_alone(centre: float) -> None:
    """Wherever the jobs' real times lie."""
    correction, draw = Correction(), random.Random(2)
    for _ in range(1000):
        correction.observe(kept=centre * draw.uniform(0.7, 1.3) <= correction.factor)

    assert correction.coverage == pytest.approx(PROMISED_SHARE, abs=0.04)


def test_a_corrected_factor_has_bounds() -> None:
    """What nothing helps isn't promised for ever."""
    never, always = Correction(), Correction()
    assert never.factor == FIRST_FACTOR
    for _ in range(300):
        never.observe(kept=False)
        always.observe(kept=True)

    assert (never.factor, always.factor) == (4.0, 0.5)
    assert (never.coverage, always.coverage, Count().coverage) == (0.0, 1.0, None)
