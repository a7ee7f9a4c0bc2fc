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


def test_where_weights_came_from_is_told() -> None:
    """A load after a move to the host's memory is the way back, until the engine is gone."""
    metrics = Metrics()
    events = EngineEvents(Heard(), metrics)

    events.load_done("chat", 0, Loaded(1, 20.0))
    events.offload_done("chat", 0, Offloaded(1, 2, 0.5))
    events.load_done("chat", 0, Loaded(1, 0.7))
    events.offload_done("chat", 0, Offloaded(1, 2, 0.5))
    events.unload_done("chat", 0)
    events.load_done("chat", 0, Loaded(1, 30.0))

    assert sample(metrics, "ourvidz_model_load_seconds_sum", origin="disk") == 50.0
    assert sample(metrics, "ourvidz_model_load_seconds_sum", origin="host") == 0.7
    assert sample(metrics, "ourvidz_model_offload_seconds_count") == 2


def test_an_engine_that_replaces_another_is_a_restart() -> None:
    """One that died or leaked is replaced; one that was evicted comes back as usual."""
    metrics = Metrics()
    events = EngineEvents(Heard(), metrics)
    lost = EngineEnd(Loss.CRASHED, "exit 1")

    def load_and(*ends: Any) -> float | None:
        events.load_done("chat", 0, Loaded(1, 2.5))
        for end in ends:
            end("chat", 0)
        events.unload_done("chat", 0)
        return sample(metrics, "ourvidz_engine_restarts_total")

    assert not load_and(lambda *place: events.engine_lost(*place, lost))
    assert load_and(events.engine_leaks) == 1
    assert load_and() == 2
    assert load_and() == 2


def test_a_load_that_runs_out_of_memory_is_counted_twice() -> None:
    """As a failed load, and as a lack of memory; another failure only as the first."""
    metrics = Metrics()
    events = EngineEvents(Heard(), metrics)

    events.load_failed("chat", 0, JobError(ErrorCode.VRAM_OVERFLOW, "no room"))
    events.load_failed("chat", 0, JobError(ErrorCode.MODEL_LOAD_FAILED, "no file"))

    assert sample(metrics, "ourvidz_model_load_failures_total") == 2
    assert sample(metrics, "ourvidz_out_of_memory_total", during="load") == 1
