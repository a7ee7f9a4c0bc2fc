"""What becomes of engines, on its way from the pool to admission: counted as it passes."""

from dataclasses import dataclass

import structlog

from daemon.engines.pool import EngineReports
from daemon.jobs import JobError
from daemon.telemetry.metrics import Metrics
from daemon.values import EngineEnd, Loaded, Offloaded

_log = structlog.get_logger("daemon.engines")


@dataclass
class EngineEvents:
    """Implements `EngineReports` by `to`, and tells the metrics."""

    to: EngineReports
    metrics: Metrics

    def __post_init__(self) -> None:
        self._dying: set[tuple[str, int]] = set()
        """Engines that go for another reason than to make room."""

    def load_done(self, model: str, device: int, loaded: Loaded) -> None:
        """Time a load."""
        self.metrics.model_loaded(model, loaded.seconds)
        self.to.load_done(model, device, loaded)

    def load_failed(self, model: str, device: int, error: JobError) -> None:
        """Count a load that failed."""
        self.metrics.load_failed(model)
        self.to.load_failed(model, device, error)

    def offload_done(self, model: str, device: int, offloaded: Offloaded) -> None:
        """Pass on a move to the host's memory: the way back is counted as a load."""
        self.to.offload_done(model, device, offloaded)

    def engine_lost(self, model: str, device: int, end: EngineEnd) -> None:
        """Count an engine that ended by itself."""
        self.metrics.engine_died(model, end.loss)
        self._dying.add((model, device))
        self.to.engine_lost(model, device, end)

    def engine_leaks(self, model: str, device: int) -> None:
        """Tell of an engine that goes since it holds more from run to run."""
        _log.warning("engine leaks memory: it is replaced", model=model, device=device)
        self.metrics.scheduling.leaks.labels(model).inc()
        self._dying.add((model, device))

    def unload_done(self, model: str, device: int) -> None:
        """Count an eviction; an engine that died or leaked was counted as such."""
        if (model, device) in self._dying:
            self._dying.discard((model, device))
        else:
            self.metrics.model_evicted(model)
        self.to.unload_done(model, device)
