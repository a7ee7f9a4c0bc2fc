"""What becomes of engines, on its way from the pool to admission: counted as it passes."""

from dataclasses import dataclass

from daemon.engines.pool import EngineReports
from daemon.jobs import JobError
from daemon.telemetry.metrics import Metrics
from daemon.values import EngineEnd, Loaded, Offloaded


@dataclass
class EngineEvents:
    """Implements `EngineReports` by `to`, and tells the metrics."""

    to: EngineReports
    metrics: Metrics

    def __post_init__(self) -> None:
        self._dying: set[tuple[str, int]] = set()

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

    def unload_done(self, model: str, device: int) -> None:
        """Count an eviction; an engine that died was counted as such."""
        if (model, device) in self._dying:
            self._dying.discard((model, device))
        else:
            self.metrics.model_evicted(model)
        self.to.unload_done(model, device)
