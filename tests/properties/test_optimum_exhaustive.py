"""The solver's optimum against trying everything, and its schedule against the simulation."""

import pytest
from exhaustive import Exhaustive
from planned import PlannedPolicy
from tiny import instance

from daemon.scheduling import rivals
from daemon.scheduling.optimum import solve
from daemon.scheduling.policy import IndexPolicy

pytest.importorskip("ortools", reason="the extra `simulate`")

SEEDS = 25


def test_nothing_that_can_be_tried_is_better() -> None:
    """Several models, qualities and devices, weights, memory of the host: the same to the digit."""
    hosts = 0
    for seed in range(SEEDS):
        trace, world = instance(seed, jobs=3)
        best = solve(trace, world)
        hosts += world.host_bytes > 0

        assert best.proven
        assert best.cost == pytest.approx(Exhaustive(trace, world).cost(), abs=1e-6), seed
    assert hosts > SEEDS / 4


def test_the_best_schedule_is_one_that_the_ledgers_allow() -> None:
    """Step by step under the simulation's rules, at the seconds that it says."""
    for seed in range(SEEDS):
        trace, world = instance(seed, jobs=5)
        best = solve(trace, world)
        replayed = world.run(trace, PlannedPolicy(best, world.costs))

        assert replayed.cost == pytest.approx(best.cost, abs=1e-6), seed
        assert {each.job.id: each.device for each in replayed.served} == best.devices


def test_no_policy_is_better() -> None:
    """The shipped one, with and without loads ahead, and its rivals."""
    for seed in range(SEEDS):
        trace, world = instance(seed, jobs=5)
        best = solve(trace, world)
        names = [model.name for model in world.models]
        policies = [IndexPolicy(900), IndexPolicy(900, preload=names), rivals.collate(),
                    rivals.lru(), rivals.shortest_first(), rivals.fifo()]  # fmt: skip

        assert best.proven
        for policy in policies:
            assert world.run(trace, policy).cost >= best.cost - 1e-6
