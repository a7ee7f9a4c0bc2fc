"""The daemon's own histogram, in the library's registry."""

import pytest
from prometheus_client import CollectorRegistry, Histogram

from daemon.telemetry.series.register import MINUTES
from daemon.telemetry.series.timings import Timings

NAME, SAYS, LABELS = "ourvidz_job_phase_seconds", "Time that jobs spend", ["model", "phase"]


def test_two_of_a_name_are_refused() -> None:
    """As the library refuses its own."""
    registry = CollectorRegistry()
    registry.register(Timings(NAME, SAYS, LABELS, MINUTES))

    with pytest.raises(ValueError, match="Duplicated"):
        Histogram(NAME, SAYS, registry=registry)
