"""What becomes of engines reaches admission and the metrics alike."""

from dataclasses import dataclass, field
from typing import Any

from daemon.engine_events import EngineEvents
from daemon.jobs import ErrorCode, JobError
from daemon.telemetry.metrics import Metrics
from daemon.values import Loaded


@dataclass
class Heard:
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def load_done(self, *arguments: Any) -> None:
        self.calls.append(("load_done", *arguments))

    def load_failed(self, *arguments: Any) -> None:
        self.calls.append(("load_failed", *arguments))

    def engine_lost(self, *arguments: Any) -> None:
        self.calls.append(("engine_lost", *arguments))

    def unload_done(self, *arguments: Any) -> None:
        self.calls.append(("unload_done", *arguments))


def sample(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"model": "chat"})


def test_each_event_is_passed_on_and_counted() -> None:
    """An engine that dies is a death, one that makes room an eviction, never both."""
    metrics, heard = Metrics(), Heard()
    events = EngineEvents(heard, metrics)
    loaded, error = Loaded(1, 2.5), JobError(ErrorCode.MODEL_LOAD_FAILED, "no")

    events.load_done("chat", 0, loaded)
    events.engine_lost("chat", 0, "signal 9")
    events.unload_done("chat", 0)
    events.load_done("chat", 0, loaded)
    events.unload_done("chat", 0)
    events.load_failed("chat", 0, error)

    assert heard.calls == [
        ("load_done", "chat", 0, loaded),
        ("engine_lost", "chat", 0, "signal 9"),
        ("unload_done", "chat", 0),
        ("load_done", "chat", 0, loaded),
        ("unload_done", "chat", 0),
        ("load_failed", "chat", 0, error),
    ]
    assert sample(metrics, "ourvidz_engine_deaths_total") == 1
    assert sample(metrics, "ourvidz_model_evictions_total") == 1
    assert sample(metrics, "ourvidz_model_load_failures_total") == 1
