"""Whether models got exactly the callers' messages, counted run by run."""

from daemon.telemetry.series.register import Register


class Respect:
    """Counts runs of language models that came to a result."""

    def __init__(self, register: Register) -> None:
        self._runs = register.counter(
            "ourvidz_system_prompts_used_total", "Runs of language models that came to a result"
        )
        self._kept = register.counter(
            "ourvidz_system_prompts_respected_total",
            "Those of them whose prompt is proven to hold the caller's messages and nothing else",
        )
        self._others = register.counter(
            "ourvidz_system_prompts_overridden_total", "Those of them that aren't so proven"
        )
        self._used = self._respected = 0

    def used(self, *, respected: bool) -> None:
        """Count a run; `respected`: the model got exactly the messages of the caller."""
        self._used += 1
        self._respected += respected
        self._runs.inc()
        (self._kept if respected else self._others).inc()

    @property
    def share(self) -> float | None:
        """Respected of all, percent; None before the first."""
        return 100 * self._respected / self._used if self._used else None

    @property
    def rate(self) -> float | None:
        """The same, rounded as `/status` shows it."""
        return None if self.share is None else round(self.share, 1)
