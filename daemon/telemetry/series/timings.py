"""A histogram for what every job goes through many times: counted without a lock.

The library's own takes a lock twice and looks through its buckets one by one, which for a job's
six observations is a tenth of what the daemon does for it. Only the event loop may count here, and
only the event loop reads.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector


class Timing:
    """The observations of one combination of labels."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Of each bucket alone, the last without a bound."""
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.total += seconds


class Timings(Collector):
    """A histogram's combinations of labels; it is shown as the library shows its own."""

    def __init__(
        self, name: str, says: str, labels: Sequence[str], buckets: Sequence[float]
    ) -> None:
        self._name = name
        self._says = says
        self._labels = labels
        self._bounds = tuple(buckets)
        self._marks = [*(repr(float(bound)) for bound in buckets), "+Inf"]
        self._timings: dict[tuple[str, ...], Timing] = {}

    def labels(self, *values: str) -> Timing:
        """Return what counts for these values of the labels."""
        return self._timings.setdefault(values, Timing(self._bounds))

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Say what will be collected."""
        yield HistogramMetricFamily(self._name, self._says, labels=self._labels)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Return all that was counted."""
        family = HistogramMetricFamily(self._name, self._says, labels=self._labels)
        for values, timing in self._timings.items():
            counted = zip(self._marks, map(float, accumulate(timing.counts)), strict=True)
            family.add_metric(values, list(counted), timing.total)
        yield family
