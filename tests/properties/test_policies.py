"""The shipped policy and its rivals on random traces."""

from collections.abc import Callable

import pytest
from virtual_gpu import SHIPPED, device

from daemon.scheduling import rivals
from daemon.scheduling.policy import IndexPolicy, Policy
from daemon.scheduling.simulation import World
from daemon.scheduling.trace import generate

POLICIES: dict[str, Callable[[], Policy]] = {
    "shipped": lambda: IndexPolicy(900),
    "fifo": rivals.fifo,
    "lru": rivals.lru,
    "collate": rivals.collate,
    "shortest first": rivals.shortest_first,
}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("gb", [24, 48])
def test_every_policy_serves_everything(name: str, gb: float) -> None:
    """No standstill, no endless exchange of models, and the same outcome each time."""
    world = World.of(SHIPPED, [device(gb)])
    for seed in range(6):
        trace = generate(seed, 120, SHIPPED, per_hour=300)
        outcome = world.run(trace, POLICIES[name]())

        assert sorted(each.job.id for each in outcome.served) == sorted(each.id for each in trace)
        assert all(each.wait_s >= 0 for each in outcome.served)
        assert outcome.loads < 2 * len(trace)
        assert outcome == world.run(trace, POLICIES[name]())
