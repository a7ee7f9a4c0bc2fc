"""Traces under virtual time, with the shipped policy and with its rivals."""

from collections import Counter

import pytest
from virtual_gpu import SHIPPED, device

from daemon.scheduling import rivals
from daemon.scheduling.claims import Claim
from daemon.scheduling.models import GIB
from daemon.scheduling.policy import IndexPolicy, Policy
from daemon.scheduling.simulation import Outcome, StandstillError, World
from daemon.scheduling.state import State
from daemon.scheduling.trace import MIX, Trace, TraceJob, generate


def simulated(trace: Trace, policy: Policy | None = None, *, gb: float = 24) -> Outcome:
    return World.of(SHIPPED, [device(gb)]).run(trace, policy or IndexPolicy(900))


def job(
    name: str, model: str, quality: str = "fast", *, at: float = 0, run_s: float = 10
) -> TraceJob:
    return TraceJob(name, model, quality, at, run_s)


def order(outcome: Outcome) -> list[str]:
    return [each.job.id for each in outcome.served]


def test_a_job_takes_its_load_and_its_run() -> None:
    """The first of a model pays for the load, the next one doesn't."""
    outcome = simulated([job("a", "sdxl"), job("b", "sdxl", at=30)])

    assert [(each.wait_s, each.flow_s) for each in outcome.served] == [(8, 18), (0, 10)]
    assert (outcome.loads, outcome.loading_s) == (1, 8)
    assert outcome.makespan_s == 40
    assert outcome.cost == 28


def test_a_switch_pays_for_the_eviction_too() -> None:
    """Video needs what SDXL holds: unload, load, run."""
    outcome = simulated([job("a", "sdxl"), job("b", "video", at=100)], gb=18)

    assert outcome.served[1].wait_s == 16


def test_weights_count_in_the_cost() -> None:
    """A second of one job's waiting may be worth more than another's."""
    heavy = TraceJob("a", "sdxl", "fast", 0, 10, weight=3.0)
    assert simulated([heavy]).cost == 54


def test_what_no_device_can_take_is_refused() -> None:
    """It isn't lost, and holds nobody up."""
    outcome = simulated([job("a", "video"), job("b", "wan")], gb=12)

    assert (list(outcome.refused), order(outcome)) == (["a"], ["b"])


def test_waits_have_quantiles() -> None:
    """The share of jobs that waited no longer."""
    outcome = simulated([job(str(number), "sdxl", at=100 * number) for number in range(10)])

    assert outcome.wait_s(0.9) == 0
    assert outcome.wait_s(0.95) == 8
    assert simulated([]).wait_s(0.5) == 0


def test_fifo_starts_in_the_order_of_arrival() -> None:
    """Whatever it costs."""
    trace = generate(3, 60, SHIPPED, per_hour=600)
    assert order(simulated(trace, rivals.fifo())) == [each.id for each in trace]


def test_lru_lets_others_by_whose_models_are_there() -> None:
    """A full model holds nobody up, nor does one that waits for bytes: only loads have turns."""
    trace = [
        *(job(f"s{number}", "sdxl", run_s=50) for number in range(3)),
        job("w", "wan", at=1),
        job("v", "video", at=2, run_s=5),
        job("late", "wan", at=3),
    ]
    started = order(simulated(trace, rivals.lru()))

    assert started.index("w") < started.index("s2")
    assert started.index("late") < started.index("v")


def test_lru_loads_one_model_after_the_other_and_collate_whatever_finds_room() -> None:
    """Video waits for what SDXL holds; meanwhile WAN would find room."""
    trace = [job("s", "sdxl", "high", run_s=100), job("v", "video", "high", at=10),
             job("w", "wan", at=11)]  # fmt: skip

    assert order(simulated(trace, rivals.lru())) == ["s", "v", "w"]
    assert order(simulated(trace, rivals.collate())) == ["s", "w", "v"]


def test_collate_uses_a_model_up() -> None:
    """Nobody's model goes while its own jobs come."""
    trace = [
        *(job(f"s{number}", "sdxl", at=4 * number, run_s=10) for number in range(20)),
        job("v", "video", at=1, run_s=5),
    ]
    assert order(simulated(trace, rivals.collate()))[-1] == "v"


def test_shortest_first_is_by_class() -> None:
    """The class's average decides, since nobody knows the single run."""
    trace = [job("a", "sdxl", "high"), job("b", "sdxl", "high", at=1), job("c", "sdxl", at=2)]
    assert order(simulated(trace, rivals.shortest_first())) == ["c", "a", "b"]


class Idle:
    """A policy that never does anything."""

    fair = True

    def next_command(self, state: State, now: float) -> None:
        return None

    def claims(self, state: State, now: float) -> dict[int, Claim]:
        return {}

    def next_deadline(self, state: State, now: float) -> None:
        return None


def test_a_standstill_is_an_error() -> None:
    """Not an outcome with fewer jobs."""
    with pytest.raises(StandstillError, match="1 jobs wait for nothing"):
        simulated([job("a", "sdxl")], Idle())


def test_two_devices_share_a_trace() -> None:
    """Both are used, and it costs less."""
    trace = generate(1, 100, SHIPPED, per_hour=400)
    one = simulated(trace)
    two = World.of(SHIPPED, [device(24), device(24, 1)]).run(trace, IndexPolicy(900))

    assert {each.device for each in two.served} == {0, 1}
    assert two.cost < one.cost


def test_what_is_preloaded_is_there_when_the_first_job_comes() -> None:
    """The others are loaded when they are asked for."""
    trace = [job("a", "sdxl", at=60), job("b", "wan", at=60), job("c", "chat", at=60)]
    preloading = IndexPolicy(900, preload=["sdxl", "wan"])
    outcome = simulated(trace, preloading)

    assert {each.job.id: each.wait_s for each in outcome.served} == {"a": 0, "b": 0, "c": 12}
    assert outcome.loads == 3


def test_pools_of_their_own_hold_their_whole_budgets() -> None:
    """Video's leaves no room for another's, SDXL's and WAN's find room beside each other."""
    pools = rivals.partition(SHIPPED)
    trace = [job("s", "sdxl", run_s=100), job("v", "video", at=5), job("w", "wan", at=6)]
    outcome = World.of(pools, [device(24)]).run(trace, rivals.collate())

    assert order(outcome) == ["s", "w", "v"]
    assert [each.started_s for each in outcome.served] == [8, 8 + 4, 108 + 1 + 15]


def test_a_seed_is_a_trace() -> None:
    """The same again, with the shares and the rate that were asked for."""
    trace = generate(7, 4000, SHIPPED, per_hour=3600)

    assert trace == generate(7, 4000, SHIPPED, per_hour=3600)
    assert trace != generate(8, 4000, SHIPPED, per_hour=3600)
    assert trace[-1].arrives_s == pytest.approx(4000, rel=0.1)
    shares = Counter((each.model, each.quality) for each in trace)
    specs = {model.name: model for model in SHIPPED}
    for name, share in MIX.items():
        assert shares[name] == pytest.approx(40 * share, rel=0.3)
        runs = [each.run_s for each in trace if (each.model, each.quality) == name]
        assert sum(runs) / len(runs) == pytest.approx(
            specs[name[0]].qualities[name[1]].run_s, rel=0.1
        )
    assert all(each.arrives_s == 0 for each in generate(7, 10, SHIPPED))


def test_memory_of_the_host_makes_switches_cheaper() -> None:
    """The second load of each model is a restore; without it, one from disk."""
    trace = [
        job(f"{number}", ["sdxl", "video"][number % 2], "high", at=100.0 * number)
        for number in range(6)
    ]
    without = World.of(SHIPPED, [device(21)]).run(trace, IndexPolicy(900))
    there = World.of(SHIPPED, [device(21)], 64 * GIB).run(trace, IndexPolicy(900))

    assert (without.loads, there.loads) == (6, 6)
    load_s = {model.name: model.load_s for model in SHIPPED}
    restore_s = {model.name: model.restore_s for model in SHIPPED}
    assert without.loading_s == 3 * (load_s["sdxl"] + load_s["video"])
    assert there.loading_s == pytest.approx(
        sum(load_s[name] + 2 * restore_s[name] for name in ("sdxl", "video"))
    )
    assert there.cost < without.cost


def test_interactive_jobs_and_priority_are_taken_from_the_trace() -> None:
    """As the daemon would have seen them."""
    jobs = [job(f"{number}", "video", at=1, run_s=20) for number in range(3)]
    client = TraceJob("client", "video", "fast", 2, 20, interactive=True)
    urgent = TraceJob("urgent", "video", "fast", 3, 20, priority=5)

    assert order(simulated([*jobs, urgent, client]))[:2] == ["client", "urgent"]
