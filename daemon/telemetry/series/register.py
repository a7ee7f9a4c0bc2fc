"""Where series are declared: each metric with its help and its labels, kept for the reference."""

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from daemon.telemetry.series.labels import Label
from daemon.telemetry.series.timings import Timings

MILLISECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds of a call, or of the event loop's lag."""

MINUTES = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120, 300, 600)
"""Seconds of a job: from a wake-up's milliseconds to minutes of video."""

MOVES = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Seconds of a move of weights. They are rare, and each has its series from the start: fewer."""


@dataclass(frozen=True, slots=True)
class Described:
    """One metric, as `docs/metrics.md` tells of it.

    Attributes:
        subject: the heading under which it stands.
        name: as queries name it; a histogram has the series `_bucket`, `_sum` and `_count`.
        kind: counter, gauge or histogram.
        says: its help.
        labels: in order.
    """

    subject: str
    name: str
    kind: str
    says: str
    labels: tuple[Label, ...]


class Register:
    """Makes the metrics of a registry, and remembers what they are.

    Args:
        registry: gets them.
        subject: what they are about.
        described: gets a description of each.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        subject: str = "",
        described: list[Described] | None = None,
    ) -> None:
        self._registry = registry
        self._subject = subject
        self.described: list[Described] = [] if described is None else described

    def about(self, subject: str) -> "Register":
        """Return a register of the same metrics, for another subject."""
        return Register(self._registry, subject, self.described)

    def counter(self, name: str, says: str, *labels: Label) -> Counter:
        """Make a counter; its name ends in `_total`."""
        self._describe(name, "counter", says, labels)
        return Counter(name, says, _names(labels), registry=self._registry)

    def gauge(self, name: str, says: str, *labels: Label) -> Gauge:
        """Make a gauge."""
        self._describe(name, "gauge", says, labels)
        return Gauge(name, says, _names(labels), registry=self._registry)

    def histogram(
        self, name: str, says: str, *labels: Label, buckets: Sequence[float]
    ) -> Histogram:
        """Make a histogram with these upper bounds."""
        self._describe(name, "histogram", says, labels)
        return Histogram(name, says, _names(labels), buckets=buckets, registry=self._registry)

    def timings(self, name: str, says: str, *labels: Label, buckets: Sequence[float]) -> Timings:
        """Make a histogram that only the event loop may fill, for what every job goes through."""
        self._describe(name, "histogram", says, labels)
        made = Timings(name, says, _names(labels), buckets)
        self._registry.register(made)
        return made

    def _describe(self, name: str, kind: str, says: str, labels: tuple[Label, ...]) -> None:
        self.described.append(Described(self._subject, name, kind, says, labels))


def _names(labels: Sequence[Label]) -> list[str]:
    return [label.name for label in labels]
