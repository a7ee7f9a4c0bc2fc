"""What becomes of engines reaches admission and the metrics alike."""

from dataclasses import dataclass, field
from typing import Any

from daemon.engine_events import EngineEvents
from daemon.jobs import ErrorCode, JobError
from daemon.telemetry.metrics import Metrics
from daemon.values import EngineEnd, Loaded, Loss, Offloaded


@dataclass
class Heard:
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def load_done(self, *arguments: Any) -> None:
        self.calls.append(("load_done", *arguments))

    def load_failed(self, *arguments: Any) -> None:
        self.calls.append(("load_failed", *arguments))

    def offload_done(self, *arguments: Any) -> None:
        self.calls.append(("offload_done", *arguments))

    def engine_lost(self, *arguments: Any) -> None:
        self.calls.append(("engine_lost", *arguments))

    def unload_done(self, *arguments: Any) -> None:
        self.calls.append(("unload_done", *arguments))


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"model": "chat", **labels})


def test_each_event_is_passed_on_and_counted() -> None:
    """An engine that dies is a death, one that makes room an eviction, never both.

    A move to the host's memory is neither.
    """
    metrics, heard = Metrics(), Heard()
    events = EngineEvents(heard, metrics)
    loaded, error = Loaded(1, 2.5), JobError(ErrorCode.MODEL_LOAD_FAILED, "no")
    offloaded, end = Offloaded(1, 2, 0.5), EngineEnd(Loss.KILLED, "signal 9")

    events.load_done("chat", 0, loaded)
    events.offload_done("chat", 0, offloaded)
    events.engine_lost("chat", 0, end)
    events.unload_done("chat", 0)
    events.load_done("chat", 0, loaded)
    events.unload_done("chat", 0)
    events.load_failed("chat", 0, error)

    assert heard.calls == [
        ("load_done", "chat", 0, loaded),
        ("offload_done", "chat", 0, offloaded),
        ("engine_lost", "chat", 0, end),
        ("unload_done", "chat", 0),
        ("load_done", "chat", 0, loaded),
        ("unload_done", "chat", 0),
        ("load_failed", "chat", 0, error),
    ]
    assert sample(metrics, "ourvidz_engine_deaths_total", loss="killed") == 1
    assert sample(metrics, "ourvidz_model_evictions_total") == 1
    assert sample(metrics, "ourvidz_model_load_failures_total") == 1


def test_an_engine_that_leaks_is_counted_as_such() -> None:
    """It made room for nobody, and it didn't die; its successor may be evicted as usual."""
    metrics = Metrics()
    events = EngineEvents(Heard(), metrics)

    events.engine_leaks("chat", 0)
    events.unload_done("chat", 0)
    assert sample(metrics, "ourvidz_engine_leaks_total") == 1
    assert not sample(metrics, "ourvidz_model_evictions_total")

    events.unload_done("chat", 0)
    assert sample(metrics, "ourvidz_model_evictions_total") == 1
