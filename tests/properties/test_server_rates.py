"""The token bucket under any history of requests."""

import math

from hypothesis import given
from hypothesis import strategies as st

from daemon.server.rates import Bucket

RATES = st.floats(1, 10_000)
PAUSES = st.lists(st.floats(0, 120, allow_nan=False), max_size=60)


@given(RATES, PAUSES)
def test_no_span_sees_more_than_its_share(per_minute: float, pauses: list[float]) -> None:
    """Between any two moments at most a minute's worth and what has flowed in since."""
    bucket, now = Bucket(per_minute, 0.0), 0.0
    taken: list[float] = []
    for pause in pauses:
        now += pause
        taken += [now for _ in range(5) if bucket.take(now) == 0]

    for first, begin in enumerate(taken):
        for last, end in enumerate(taken[first:], first):
            share = per_minute + (end - begin) * per_minute / 60
            assert last - first + 1 <= share + 1e-6 * max(1.0, share)


@given(RATES, PAUSES)
def test_who_waits_as_told_gets_one(per_minute: float, pauses: list[float]) -> None:
    """And the wait is never longer than one token's time."""
    bucket, now = Bucket(per_minute, 0.0), 0.0
    for pause in pauses:
        now += pause
        wait = bucket.take(now)
        while wait == 0:
            wait = bucket.take(now)
        assert 0 < wait <= 60 / per_minute + 1e-6
        assert bucket.left() == 0
        now = math.nextafter(now + wait, math.inf)
        assert bucket.take(now) == 0


@given(RATES, st.floats(0, 1e6))
def test_clock_that_goes_back_gives_nothing(per_minute: float, back: float) -> None:
    """Nothing is counted twice."""
    bucket = Bucket(per_minute, back)
    while bucket.take(back) == 0:
        pass

    assert bucket.take(0.0) > 0
    assert bucket.take(back) > 0


@given(RATES)
def test_full_bucket_holds_a_minutes_worth(per_minute: float) -> None:
    """However long nobody has asked."""
    bucket, count = Bucket(per_minute, 0.0), 0
    while bucket.take(1e9) == 0:
        count += 1

    assert count == math.floor(per_minute + 1e-9)
    assert 0 <= bucket.full_in() <= 60 + 1e-6
