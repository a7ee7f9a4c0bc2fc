"""The exact optimum, the certified bound and the search, against one another and by hand."""

import math
from dataclasses import replace

import pytest
from virtual_gpu import SHIPPED, WAN, device

from daemon.scheduling.bound import lower_bound
from daemon.scheduling.models import GIB
from daemon.scheduling.optimum import NoScheduleError, solve
from daemon.scheduling.policy import IndexPolicy
from daemon.scheduling.search import search
from daemon.scheduling.simulation import World
from daemon.scheduling.trace import TraceJob, generate

pytest.importorskip("ortools", reason="the extra `simulate`")

WORLD = World.of(SHIPPED, [device(24)])


def job(name: str, model: str, quality: str = "fast", *, at: float = 0, run_s: float) -> TraceJob:
    return TraceJob(name, model, quality, at, run_s)


def test_one_job_is_loaded_and_run() -> None:
    """A load of 8 s and the run."""
    best = solve([job("a", "sdxl", run_s=20)], WORLD)

    assert (best.cost, best.proven, best.starts_s) == (28, True, {"a": 8})


def test_foresight_loads_before_the_job_arrives() -> None:
    """Nothing keeps a solver that knows everything from being early."""
    assert solve([job("a", "sdxl", at=50, run_s=20)], WORLD).cost == 20


def test_slots_are_counted() -> None:
    """Two at once, the third after the shorter one."""
    trace = [job(name, "sdxl", run_s=run_s) for name, run_s in [("a", 10), ("b", 20), ("c", 30)]]
    best = solve(trace, WORLD)

    assert best.cost == (8 + 10) + (8 + 20) + (8 + 10 + 30)


def test_budgets_are_counted() -> None:
    """Fast and high of SDXL exclude one another, though there are two slots."""
    trace = [job("a", "sdxl", run_s=10), job("b", "sdxl", "high", run_s=10)]
    assert solve(trace, WORLD).cost == 18 + 28


def test_a_switch_unloads_before_it_loads() -> None:
    """On 18 GB the two don't fit together, and the weights of both don't either."""
    small = World.of(SHIPPED, [device(18)])
    trace = [job("a", "sdxl", run_s=10), job("b", "video", run_s=10)]

    assert solve(trace, small).cost == 18 + (18 + 1 + 15 + 10)


def test_two_devices_load_side_by_side() -> None:
    """One load at a time holds for one device."""
    two = World.of(SHIPPED, [device(24), device(24, 1)])
    trace = [job("a", "sdxl", run_s=10), job("b", "chat", run_s=10)]

    assert solve(trace, two).cost == 18 + 22
    assert solve(trace, WORLD).cost == 18 + 30


def host_of(host_gb: float) -> World:
    """Return a device for one of two models at a time, and memory of the host."""
    models = [
        replace(WAN, name=name, load_s=7.0, restore_s=restore_s)
        for name, restore_s in (("a", 1.0), ("b", 3.0))
    ]
    return World.of(models, [device(5.5)], int(host_gb * GIB))


@pytest.mark.parametrize(("host_gb", "cost"), [(0, 2 + 2 + 1 + 7 + 2), (2.7, 14), (2.8, 2 + 6)])
def test_what_waits_in_the_host_may_be_loaded_for_that_alone(host_gb: float, cost: float) -> None:
    """Weights go there ahead of their job, as far as there is room, and come back in a second.

    One runs at 20; it is gone a second after its end, and the other one is back after another.
    """
    trace = [job("a", "a", "high", at=20, run_s=2), job("b", "b", "high", at=20, run_s=2)]
    both = solve(trace, host_of(host_gb))

    assert both.proven
    assert both.cost == cost


def test_the_host_holds_weights_until_they_are_back() -> None:
    """And from the begin of their way there: two that change places need room for both."""
    first = TraceJob("1", "a", "high", 30, 1, weight=10)
    trace = [first, job("2", "b", "high", at=31, run_s=1), job("3", "a", "high", at=36, run_s=1)]
    narrow, wide = (solve(trace, host_of(gb)) for gb in (2.8, 5.6))

    assert (narrow.cost, narrow.proven) == (10 + 11 + 1, True)
    assert (wide.cost, wide.proven) == (10 + 5 + 3, True)


def test_what_fits_nowhere_is_no_schedule() -> None:
    """Rather than a search in vain."""
    with pytest.raises(NoScheduleError, match="1 of the jobs fit on no device"):
        solve([job("a", "video", run_s=1)], World.of(SHIPPED, [device(12)]))


def test_finer_seconds_than_tenths_are_refused() -> None:
    """What is best of rounded ones needn't be best, nor a bound."""
    with pytest.raises(ValueError, match=r"2.55 s is finer than a tenth"):
        solve([job("a", "sdxl", run_s=2.55)], WORLD)


def test_no_time_no_schedule() -> None:
    """Rather than a cost that nobody has found."""
    with pytest.raises(NoScheduleError, match="0 s for 10 jobs"):
        solve(generate(1, 10, SHIPPED), WORLD, limit_s=0)


@pytest.mark.parametrize("per_hour", [None, 400])
def test_nothing_is_better_than_the_optimum(per_hour: float | None) -> None:
    """The bound is below it, the search and the policy are above."""
    for seed in range(6):
        trace = generate(seed, 6, SHIPPED, per_hour=per_hour)
        shipped = WORLD.run(trace, IndexPolicy(900))
        best = solve(trace, WORLD, known=shipped)
        found = search(trace, WORLD, tries=30)

        assert best.proven
        assert lower_bound(trace, WORLD) <= best.cost + 1e-6
        assert best.cost - 1e-6 <= found.cost <= shipped.cost + 1e-6


def test_the_search_is_real_and_repeatable() -> None:
    """The same seed, the same schedule, with every job in it."""
    trace = generate(3, 40, SHIPPED, per_hour=300)
    found = search(trace, WORLD, tries=60, seed=5)

    assert found == search(trace, WORLD, tries=60, seed=5)
    assert sorted(each.job.id for each in found.served) == sorted(each.id for each in trace)
    assert found.cost < WORLD.run(trace, IndexPolicy(math.inf)).cost


def test_the_bound_sees_a_queue() -> None:
    """A hundred videos at once take more than their runs one by one beside each other."""
    trace = [job(str(number), "video", "high", run_s=100) for number in range(100)]
    cost = WORLD.run(trace, IndexPolicy(math.inf)).cost

    assert 0.6 * cost < lower_bound(trace, WORLD) <= cost
    assert lower_bound([], WORLD) == 0
