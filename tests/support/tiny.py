"""Tiny instances of all kinds, for what solves or bounds them: whole bytes and seconds."""

from random import Random

from daemon.scheduling.models import DeviceSpec, ModelSpec, QualitySpec
from daemon.scheduling.simulation import World
from daemon.scheduling.trace import TraceJob


def instance(seed: int, *, jobs: int = 4, devices: int = 2) -> tuple[list[TraceJob], World]:
    """Return a trace of up to so many jobs, and a host of up to so many devices."""
    draw = Random(seed)
    models = [_model(draw, name) for name in ("a", "b", "c")[: draw.randint(1, 3)]]
    most = max(model.budget_bytes for model in models)
    places = [
        DeviceSpec(index, draw.randint(most, most + 10))
        for index in range(draw.randint(1, devices))
    ]
    classes = [(model.name, quality) for model in models for quality in model.qualities]
    late = draw.choice((0, 6, 20))
    trace = [
        TraceJob(
            f"job-{number}",
            *draw.choice(classes),
            arrives_s=draw.randint(0, late),
            run_s=draw.randint(1, 9),
            weight=draw.choice((1.0, 1.0, 2.0, 4.0)),
        )
        for number in range(draw.randint(1, jobs))
    ]
    host_bytes = draw.choice((0, 0, 5, 12))
    return trace, World.of(models, places, host_bytes)


def _model(draw: Random, name: str) -> ModelSpec:
    weights = draw.randint(1, 6)
    qualities = {}
    for quality in ("fast", "high")[: draw.randint(1, 2)]:
        concurrency = draw.randint(1, 3)
        footprint = weights + concurrency * draw.randint(0, 3)
        qualities[quality] = QualitySpec(quality, footprint, concurrency, run_s=5.0)
    budget = max(each.footprint_bytes for each in qualities.values())
    slots = draw.randint(1, 4)
    load_s, restore_s = float(draw.randint(2, 7)), float(draw.randint(1, 3))
    return ModelSpec(name, budget, weights, slots, qualities, load_s, restore_s)
