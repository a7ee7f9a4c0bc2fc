"""What becomes of engines, on its way from the pool to admission: counted as it passes."""

from dataclasses import dataclass

import structlog

from daemon.engines.pool import EngineReports
from daemon.jobs import ErrorCode, JobError
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
        self._missed: set[tuple[str, int]] = set()
        """Models whose last engine went so: the next one takes its place."""
        self._in_host: set[tuple[str, int]] = set()

    def load_done(self, model: str, device: int, loaded: Loaded) -> None:
        """Time a load, and count one that replaces an engine that died or leaked."""
        place = model, device
        self.metrics.engines.loaded(model, loaded.seconds, from_host=place in self._in_host)
        if place in self._missed:
            self.metrics.engines.restarted(model)
        self._in_host.discard(place)
        self._missed.discard(place)
        self.to.load_done(model, device, loaded)

    def load_failed(self, model: str, device: int, error: JobError) -> None:
        """Count a load that failed."""
        self.metrics.engines.load_failed(model)
        if error.error_code is ErrorCode.VRAM_OVERFLOW:
            self.metrics.engines.out_of_memory(model, "load")
        self._in_host.discard((model, device))
        self.to.load_failed(model, device, error)

    def load_lost(self, model: str, device: int, end: EngineEnd) -> None:
        """Count an engine that ended in a load."""
        self.metrics.engines.died(model, end.loss)
        self._missed.add((model, device))
        self._in_host.discard((model, device))
        self.to.load_lost(model, device, end)

    def offload_done(self, model: str, device: int, offloaded: Offloaded) -> None:
        """Time a move to the host's memory."""
        self.metrics.engines.offloaded(model, offloaded.seconds)
        self._in_host.add((model, device))
        self.to.offload_done(model, device, offloaded)

    def engine_lost(self, model: str, device: int, end: EngineEnd) -> None:
        """Count an engine that ended by itself."""
        self.metrics.engines.died(model, end.loss)
        self._dying.add((model, device))
        self.to.engine_lost(model, device, end)

    def engine_leaks(self, model: str, device: int) -> None:
        """Tell of an engine that goes since it holds more from run to run."""
        _log.warning("engine leaks memory: it is replaced", model=model, device=device)
        self.metrics.engines.leaks(model)
        self._dying.add((model, device))

    def unload_done(self, model: str, device: int) -> None:
        """Count an eviction; an engine that died or leaked was counted as such."""
        self._in_host.discard((model, device))
        if (model, device) in self._dying:
            self._dying.discard((model, device))
            self._missed.add((model, device))
        else:
            self.metrics.engines.evicted(model)
        self.to.unload_done(model, device)
