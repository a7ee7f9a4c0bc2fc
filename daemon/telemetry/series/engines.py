"""Engines as time series: loads, moves, and what goes wrong in them."""

from daemon.telemetry.series.labels import DURING, LOSS, MODEL, ORIGIN
from daemon.telemetry.series.register import MOVES, Register
from daemon.values import Loss


class EngineSeries:
    """What becomes of the processes that hold models."""

    def __init__(self, register: Register) -> None:
        counter = register.counter
        self._loads = register.histogram(
            "ourvidz_model_load_seconds", "Loads that succeeded", MODEL, ORIGIN, buckets=MOVES
        )
        self._offloads = register.histogram(
            "ourvidz_model_offload_seconds",
            "Moves of weights to the host's memory",
            MODEL,
            buckets=MOVES,
        )
        self._load_failures = counter(
            "ourvidz_model_load_failures_total", "Loads that failed", MODEL
        )
        self._evictions = counter(
            "ourvidz_model_evictions_total", "Weights that made room for others", MODEL
        )
        self._deaths = counter(
            "ourvidz_engine_deaths_total", "Engine processes that ended unasked", MODEL, LOSS
        )
        self._restarts = counter(
            "ourvidz_engine_restarts_total",
            "Engines that were loaded in place of one that died or leaked",
            MODEL,
        )
        self._leaks = counter(
            "ourvidz_engine_leaks_total",
            "Engines that were replaced since they held more from run to run",
            MODEL,
        )
        self._out_of_memory = counter(
            "ourvidz_out_of_memory_total",
            "Times that an engine ran out of the device's memory, also where another try helped",
            MODEL,
            DURING,
        )

    def start_at_zero(self, model: str) -> None:
        """Show what happens to a model before it does, so that its first time is a rise."""
        model = MODEL.of(model)
        self._offloads.labels(model)
        for origin in ORIGIN.values:
            self._loads.labels(model, origin)
        for counter in (self._load_failures, self._evictions, self._restarts, self._leaks):
            counter.labels(model)
        for loss in Loss:
            self._deaths.labels(model, loss.value)
        for during in DURING.values:
            self._out_of_memory.labels(model, during)

    def loaded(self, model: str, seconds: float, *, from_host: bool = False) -> None:
        """Time a load that succeeded, from disk or from the host's memory."""
        self._loads.labels(MODEL.of(model), "host" if from_host else "disk").observe(seconds)

    def load_failed(self, model: str) -> None:
        """Count a load that failed."""
        self._load_failures.labels(MODEL.of(model)).inc()

    def offloaded(self, model: str, seconds: float) -> None:
        """Time a move to the host's memory."""
        self._offloads.labels(MODEL.of(model)).observe(seconds)

    def evicted(self, model: str) -> None:
        """Count weights that made room for others."""
        self._evictions.labels(MODEL.of(model)).inc()

    def died(self, model: str, loss: Loss) -> None:
        """Count an engine that ended without being asked to, by how it was lost."""
        self._deaths.labels(MODEL.of(model), loss.value).inc()

    def restarted(self, model: str) -> None:
        """Count an engine that stands in for one that died or leaked."""
        self._restarts.labels(MODEL.of(model)).inc()

    def leaks(self, model: str) -> None:
        """Count an engine that goes since it leaks."""
        self._leaks.labels(MODEL.of(model)).inc()

    def out_of_memory(self, model: str, during: str) -> None:
        """Count a `load` or a `run` that found too little memory."""
        self._out_of_memory.labels(MODEL.of(model), during).inc()
