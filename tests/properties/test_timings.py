"""The daemon's own histogram, held to the library's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import (
    CollectorRegistry,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from daemon.telemetry.series.register import MILLISECONDS, MINUTES, MOVES
from daemon.telemetry.series.timings import Timings

NAME, SAYS, LABELS = "ourvidz_job_phase_seconds", "Time that jobs spend", ["model", "phase"]

# As the daemon does, for all that the process shows.
disable_created_metrics()


def both(buckets: tuple[float, ...], seen: list[tuple[str, float]]) -> list[bytes]:
    """Return what a scrape shows of the same observations, by this one and by the library's."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = Timings(NAME, SAYS, LABELS, buckets)
    ours.register(mine)
    other = Histogram(NAME, SAYS, LABELS, buckets=buckets, registry=theirs)
    for phase, seconds in seen:
        mine.labels("chat", phase).observe(seconds)
        other.labels("chat", phase).observe(seconds)
    return [generate_latest(ours), generate_latest(theirs)]


@pytest.mark.parametrize("buckets", [MILLISECONDS, MINUTES, MOVES], ids=["ms", "min", "moves"])
@given(
    seen=st.lists(
        st.tuples(
            st.sampled_from(["run", "queue"]),
            st.floats(0, 1e6) | st.sampled_from([*MILLISECONDS, *MINUTES, *MOVES]),
        )
    )
)
def test_a_scrape_shows_what_the_librarys_would(
    buckets: tuple[float, ...], seen: list[tuple[str, float]]
) -> None:
    """Also on the bounds, above the last one, and before anything was counted."""
    ours, theirs = both(buckets, seen)

    assert ours == theirs
