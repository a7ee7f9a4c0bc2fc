"""Whether models got exactly the callers' messages, counted run by run."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class Respect:
    """Counts runs of language models that came to a result.

    Args:
        registry: gets the counters.
        rate: shows the share in percent; not a number before the first run.
    """

    def __init__(self, registry: CollectorRegistry, rate: Gauge) -> None:
        self._runs = Counter(
            "ourvidz_system_prompts_used",
            "Runs of language models that came to a result",
            registry=registry,
        )
        self._kept = Counter(
            "ourvidz_system_prompts_respected",
            "Those of them whose prompt is proven to hold the caller's messages and nothing else",
            registry=registry,
        )
        self._shown = rate
        self._used = self._respected = 0

    def used(self, *, respected: bool) -> None:
        """Count a run; `respected`: the model got exactly the messages of the caller."""
        self._used += 1
        self._respected += respected
        self._runs.inc()
        self._kept.inc(respected)
        self._shown.set(100 * self._respected / self._used)

    @property
    def rate(self) -> float | None:
        """Respected of all, percent as it is shown; None before the first."""
        return round(100 * self._respected / self._used, 1) if self._used else None
