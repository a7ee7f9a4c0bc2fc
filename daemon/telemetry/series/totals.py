"""Counters whose totals other parts keep: they are brought up to date when a scrape asks."""

from prometheus_client import Counter


class Totals:
    """Remembers what each counter was last brought to."""

    def __init__(self) -> None:
        self._shown: dict[Counter, int] = {}

    def show(self, counter: Counter, total: int) -> None:
        """Add what a total has grown by since it was last shown; one that fell counts nothing."""
        counter.inc(max(0, total - self._shown.get(counter, 0)))
        self._shown[counter] = total
