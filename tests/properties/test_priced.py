"""The bound that knows loads, against optima that are proven and against real schedules."""

from dataclasses import replace

import pytest
from tiny import instance
from virtual_gpu import SHIPPED, device

from daemon.scheduling.bound import lower_bound
from daemon.scheduling.models import GIB
from daemon.scheduling.optimum import solve
from daemon.scheduling.policy import IndexPolicy
from daemon.scheduling.simulation import World
from daemon.scheduling.trace import TraceJob, generate

priced = pytest.importorskip("daemon.scheduling.priced", reason="the extra `simulate`")

WORLD = World.of(SHIPPED, [device(24)])


@pytest.mark.parametrize("step_s", [1.0, 2.5])
def test_no_optimum_is_below_the_bound(step_s: float) -> None:
    """Several models, qualities, devices, weights, memory of the host; loads of parts of steps."""
    shares = []
    for seed in range(16):
        trace, world = instance(seed, jobs=5)
        shipped = world.run(trace, IndexPolicy(900))
        best = solve(trace, world, known=shipped)
        bound = priced.priced_bound(trace, world, known=shipped, rounds=60, step_s=step_s)

        assert best.proven
        assert lower_bound(trace, world) <= bound <= best.cost + 1e-6, seed
        shares.append(bound / best.cost)
    assert sum(shares) / len(shares) > 0.9


def test_one_job_pays_for_its_load() -> None:
    """Eight seconds of it, in steps of four, and the run."""
    trace = [TraceJob("a", "sdxl", "fast", 0.0, 20.0)]
    assert 27 < priced.priced_bound(trace, WORLD, rounds=300) <= 28


def test_a_switch_is_seen() -> None:
    """High video and SDXL exclude one another; the fluid bound sees hardly any of it."""
    trace = [
        TraceJob(str(number), model, "high", 0.0, 60.0)
        for number, model in enumerate(["sdxl", "video"] * 2)
    ]
    best = solve(trace, WORLD)
    bound = priced.priced_bound(trace, WORLD, rounds=200)

    assert lower_bound(trace, WORLD) < 0.8 * best.cost
    assert 0.9 * best.cost < bound <= best.cost + 1e-6


def test_a_queue_of_a_real_day_is_seen() -> None:
    """More of it than the fluid one sees, and no more than there was."""
    trace = generate(0, 60, SHIPPED, per_hour=400)
    shipped = WORLD.run(trace, IndexPolicy(900))
    bound = priced.priced_bound(trace, WORLD, known=shipped, rounds=120)

    assert 1.2 * lower_bound(trace, WORLD) < bound < shipped.cost


def test_a_long_trace_is_the_sum_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each on devices that may hold anything when it begins, so it is no more than the whole."""
    trace = generate(1, 24, SHIPPED, per_hour=300)
    whole = priced.priced_bound(trace, WORLD, rounds=150)
    monkeypatch.setattr(priced, "PART", 8)
    parts = priced.priced_bound(trace, WORLD, rounds=150)

    assert lower_bound(trace, WORLD) <= parts <= 1.01 * whole


def test_what_is_refused_costs_nothing() -> None:
    """A job that no device can take isn't in anybody's cost."""
    small = replace(WORLD, devices=[device(14)])
    served = TraceJob("a", "wan", "fast", 0.0, 10.0)
    trace = [served, TraceJob("b", "video", "high", 0.0, 100.0)]

    assert small.run(trace, IndexPolicy(900)).cost == 14
    assert priced.priced_bound(trace, small, rounds=100) <= 14
    assert lower_bound(trace, small) <= 14


def test_what_came_long_before_is_not_charged() -> None:
    """A model may have been loaded at any time before the first job of a part, however long."""
    slow = [replace(model, load_s=200.0) for model in SHIPPED]
    late = TraceJob("a", "sdxl", "fast", 1000.0, 20.0)

    assert priced.priced_bound([late], World.of(slow, [device(24)]), rounds=100) <= 20


def test_too_many_models_have_the_simple_bound() -> None:
    """Twelve that all fit are more sets than are worth looking at."""
    models = [replace(SHIPPED[0], name=f"m{number}") for number in range(12)]
    wide = World.of(models, [device(200)])
    trace = [TraceJob(each.name, each.name, "fast", 0.0, 10.0) for each in models]

    assert priced.priced_bound(trace, wide) == lower_bound(trace, wide)


def test_memory_of_the_host_is_in_the_bound() -> None:
    """A restore may be all that a load takes; who says otherwise would claim too much."""
    trace = [TraceJob("a", "sdxl", "fast", 40.0, 20.0), TraceJob("b", "video", "high", 40.0, 20.0),
             TraceJob("c", "sdxl", "fast", 60.0, 20.0)]  # fmt: skip
    host = replace(WORLD, host_bytes=64 * GIB)
    best = solve(trace, host, limit_s=20)

    assert best.proven
    assert best.cost < solve(trace, WORLD, limit_s=20).cost
    assert priced.priced_bound(trace, host, rounds=200) <= best.cost + 1e-6
