"""Traces in files: whatever was written is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.traces import MOST_S, Arrival, read_trace, write_trace

SECONDS = st.floats(min_value=0, max_value=MOST_S)
ARRIVALS = st.lists(
    st.builds(
        Arrival,
        arrived_s=SECONDS,
        job_type=st.text(),
        user=st.none() | st.integers(0, 2**31),
        priority=st.integers(-100, 100),
        run_s=st.none() | SECONDS,
        completed=st.booleans(),
    )
)


@given(ARRIVALS)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, arrivals: list[Arrival]
) -> None:
    """To the last digit: a simulation of the file is the one of its source."""
    path = tmp_path_factory.mktemp("trace") / "trace.jsonl"
    write_trace(path, arrivals)

    assert read_trace(path) == arrivals
