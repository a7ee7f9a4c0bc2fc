"""The shipped scheduling policy against the optimum, a long search, a bound and its rivals.

    python benchmarks/scheduling.py [batch|online|long|rivals|decisions ...] [--seeds N]

Everything but `decisions` is virtual time: the figures are the same on any machine.
"""

import argparse
import math
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from scheduling_plots import plot

from daemon.model_specs import specs_from
from daemon.scheduling import rivals
from daemon.scheduling.bound import lower_bound
from daemon.scheduling.commands import Command
from daemon.scheduling.models import GIB, DeviceSpec, ModelSpec
from daemon.scheduling.optimum import solve
from daemon.scheduling.policy import IndexPolicy, Policy
from daemon.scheduling.priced import priced_bound
from daemon.scheduling.scheduler import Scheduler
from daemon.scheduling.search import search
from daemon.scheduling.simulation import Outcome, World
from daemon.scheduling.state import State
from daemon.scheduling.trace import Trace, generate
from daemon.settings import load_settings
from daemon.values import AdmissionRequest, Loaded

MODELS = specs_from(load_settings().models)
BOUND_S = load_settings().max_pass_over_s
PRELOAD = ("sdxl", "chat", "wan")
PER_HOUR = (100, 200, 250, 300)
"""Arrivals. One device of 24 GB has work for all of its time at about 300."""

HOST_GB = 32
"""The host's memory for weights, where there is any."""

Served = tuple[str, Callable[[World, Trace], Outcome]]


def world(gb: float, models: Iterable[ModelSpec] = MODELS, host_gb: float = 0) -> World:
    return World.of(tuple(models), [DeviceSpec(0, int(gb * GIB), GIB)], int(host_gb * GIB))


def shipped(here: World, trace: Trace) -> Outcome:
    return here.run(trace, IndexPolicy(BOUND_S))


def on_host(here: World, trace: Trace) -> Outcome:
    """The shipped policy on a host that lends memory to idle models."""
    return shipped(replace(here, host_bytes=HOST_GB * GIB), trace)


def preloading(here: World, trace: Trace) -> Outcome:
    return here.run(trace, IndexPolicy(BOUND_S, preload=PRELOAD))


def rival(policy: Callable[[], Policy]) -> Callable[[World, Trace], Outcome]:
    return lambda here, trace: here.run(trace, policy())


def partitioned(here: World, trace: Trace) -> Outcome:
    pools = replace(here, models=rivals.partition(here.models))
    return pools.run(trace, rivals.collate())


RIVALS: list[Served] = [
    ("fifo", rival(rivals.fifo)),
    ("lru", rival(rivals.lru)),
    ("collate", rival(rivals.collate)),
    ("shortest first", rival(rivals.shortest_first)),
    ("static partition", partitioned),
]


def optimum_of(arguments: tuple[int, int | None]) -> tuple[float, list[float]]:
    """Return what no schedule of ten jobs can be better than, as a share of the best one found.

    And the ratios of each policy to that best one. The share is 1 where it is proven optimal.
    """
    seed, per_hour = arguments
    here = world(24)
    trace = generate(seed, 10, MODELS, per_hour=per_hour)
    ours = shipped(here, trace)
    best = solve(trace, here, known=ours, limit_s=30)
    policies = [shipped, preloading, *(serve for _, serve in RIVALS)]
    bound = 1.0 if best.proven else best.bound / best.cost
    return bound, [serve(here, trace).cost / best.cost for serve in policies]


def against_optimum(pool: ProcessPoolExecutor, seeds: int, per_hour: int | None) -> list[float]:
    """Print the ratios to the optimum; return those of the policy that counts."""
    found = list(pool.map(optimum_of, [(seed, per_hour) for seed in range(seeds)]))
    names = ["shipped", "shipped, preloading", *(name for name, _ in RIVALS)]
    kind = "batch" if per_hour is None else f"online, {per_hour}/h"
    proven = [row for bound, row in found if bound == 1]
    print(f"\n10 jobs, {kind}, {seeds} seeds: ratio to the best schedule that the solver found")
    print(f"{'':22}{'mean':>8}{'worst':>8}{'beaten by it':>14}")
    counted = 0 if per_hour is None else 1
    for column, name in enumerate(names):
        ratios = [row[column] for _, row in found]
        beaten = fmean(row[counted] <= row[column] + 1e-9 for _, row in found)
        print(f"{name:22}{fmean(ratios):8.3f}{max(ratios):8.3f}{beaten:14.0%}")
    print(
        f"{len(proven)} are proven optimal, {fmean(row[counted] for row in proven):.3f} of these "
        f"for {names[counted]}; if the solver's bounds could be reached, "
        f"{fmean(row[counted] / bound for bound, row in found):.3f} of all"
    )
    return [row[counted] for _, row in found]


def long_of(arguments: tuple[int, int, int]) -> tuple[float, float, float]:
    """Return the ratios to the search, to the bound and to the quick bound of one long trace."""
    seed, per_hour, tries = arguments
    here, trace = world(24), generate(seed, 300, MODELS, per_hour=per_hour)
    ours = shipped(here, trace)
    best = search(trace, here, tries=tries, seed=seed)
    bound = priced_bound(trace, here, known=ours)
    return ours.cost / best.cost, ours.cost / bound, ours.cost / lower_bound(trace, here)


def against_search(pool: ProcessPoolExecutor, seeds: int, tries: int) -> None:
    print(f"\n300 jobs on 24 GB, {seeds} seeds: ratio to a search of {tries} tries, and to bounds")
    print(
        f"{'':12}{'search mean':>12}{'worst':>8}{'bound mean':>12}{'worst':>8}{'quick bound':>13}"
    )
    for per_hour in PER_HOUR:
        work = [(seed, per_hour, tries) for seed in range(seeds)]
        best, bound, quick = zip(*pool.map(long_of, work), strict=True)
        print(
            f"{per_hour:8}/h  {fmean(best):12.3f}{max(best):8.3f}"
            f"{fmean(bound):12.3f}{max(bound):8.3f}{fmean(quick):13.3f}"
        )


def day_of(arguments: tuple[int, int, int]) -> list[tuple[float, float, float, int]]:
    """Return cost, p95 and longest wait, and loads of each policy on one trace of 1,000 jobs."""
    seed, per_hour, gb = arguments
    trace = generate(seed, 1000, MODELS, per_hour=per_hour)
    policies = (shipped, on_host, *(serve for _, serve in RIVALS))
    outcomes = [serve(world(gb), trace) for serve in policies]
    return [
        (each.cost, each.wait_s(0.95), each.wait_s(1), each.loads)
        for each in outcomes
        if not each.refused
    ]


OURS = "shipped, host"
"""Idle models may wait in the host's memory, as they do by default where there is a GPU."""

Rows = dict[str, list[tuple[float, float, float, int]]]


def against_rivals(pool: ProcessPoolExecutor, seeds: int) -> dict[tuple[int, int], Rows]:
    """Print costs beside those of the rivals; return all of it."""
    tables: dict[tuple[int, int], Rows] = {}
    for gb in (24, 48):
        for per_hour in PER_HOUR:
            found = list(pool.map(day_of, [(seed, per_hour, gb) for seed in range(seeds)]))
            names = ["shipped", OURS, *(name for name, _ in RIVALS)]
            rows = {name: [day[at] for day in found] for at, name in enumerate(names)}
            tables[gb, per_hour] = rows
            print(f"\n1,000 jobs at {per_hour}/h on {gb} GB, {seeds} seeds, means")
            print(
                f"{'':18}{'cost/job':>9}{'p95 wait':>9}{'longest':>9}{'loads':>7}"
                f"{'beaten':>8}{'with host':>10}"
            )
            for name, days in rows.items():
                beaten, by_host = (ahead(rows[ours], days) for ours in ("shipped", OURS))
                cost, p95, longest, loads = (fmean(column) for column in zip(*days, strict=True))
                print(
                    f"{name:18}{cost / 1000:9.1f}{p95:9.0f}{longest:9.0f}{loads:7.0f}"
                    f"{beaten:8.0%}{by_host:10.0%}"
                )
    return tables


def ahead(ours: list[tuple[float, ...]], theirs: list[tuple[float, ...]]) -> float:
    """Return on what share of the traces our cost is at most theirs."""
    return fmean(one[0] <= other[0] * (1 + 1e-9) for one, other in zip(ours, theirs, strict=True))


def crowd(models: int, devices: int, queued: int, policy: Policy) -> Scheduler:
    """Return a scheduler with so many models, devices and queued jobs."""
    specs = [
        replace(each, name=f"{each.name}{number}")
        for number in range(models // len(MODELS))
        for each in MODELS
    ]
    places = [DeviceSpec(index, 24 * GIB, GIB) for index in range(devices)]
    scheduler = Scheduler(specs, places, max_pass_over_s=math.inf, policy=policy)
    draw = random.Random(1)
    classes = [(spec.name, name) for spec in specs for name in spec.qualities]
    requests = [
        AdmissionRequest(str(number), *draw.choice(classes), f"u{number % 50}", float(number))
        for number in range(queued)
    ]
    scheduler.submit_all(requests, float(queued))
    return scheduler


class Timed(IndexPolicy):
    """The shipped policy, each of its decisions timed: seconds of this thread on a core."""

    def __init__(self) -> None:
        super().__init__(math.inf)
        self.seconds: list[float] = []

    def next_command(self, state: State, now: float) -> Command | None:
        """Decide as the shipped policy does."""
        begun = time.thread_time()
        command = super().next_command(state, now)
        self.seconds.append(time.thread_time() - begun)
        return command


def decisions(queued: int, rounds: int) -> None:
    """Let a full host live; an event is one decision for each command, and one for no more."""
    policy = Timed()
    scheduler = crowd(8, 4, queued, policy)
    state, now = scheduler.state, float(queued)
    policy.seconds.clear()
    begun = time.thread_time()
    for number in range(rounds):
        now += 0.5
        _event(scheduler, number, now)
        if len(state.waiting) < queued:
            lane = state.lanes[number % len(state.lanes)]
            scheduler.submit(AdmissionRequest(f"n{number}", *lane.key, "u1", now), now)
    whole_s = time.thread_time() - begun
    seconds = sorted(policy.seconds)
    p50, p99 = (seconds[int(share * len(seconds))] * 1e6 for share in (0.5, 0.99))
    print(
        f"{queued:8,} queued: {len(seconds):,} decisions, p50 {p50:.0f} us, p99 {p99:.0f} us; "
        f"{whole_s / rounds * 1e6:.0f} us for an end and an arrival with all that follows"
    )


def _event(scheduler: Scheduler, number: int, now: float) -> None:
    """End whatever is going on, loads and unloads first, else the oldest run."""
    state = scheduler.state
    for place in state.placements.values():
        if place.residency == "loading" and number % 3 == 0:
            loaded = Loaded(state.estimates.weights(place.model.name), 0.0)
            scheduler.load_done(place.model.name, place.device, loaded, now)
            return
        if place.residency == "evicting":
            scheduler.unload_done(place.model.name, place.device, now)
            return
    if (run := next(iter(state.runs), None)) is not None:
        scheduler.run_ended(run, now)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ("batch", "online", "long", "rivals", "decisions")
    parser.add_argument("parts", nargs="*", choices=[*parts, []], default=[])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--tries", type=int, default=400)
    parser.add_argument("--plots", type=Path)
    given = parser.parse_args()
    wanted = given.parts or parts
    ratios: dict[str, list[float]] = {}
    tables: dict[tuple[int, int], Rows] = {}
    with ProcessPoolExecutor() as pool:
        if "batch" in wanted:
            ratios["batch"] = against_optimum(pool, given.seeds, None)
        if "online" in wanted:
            ratios["online, preloading"] = against_optimum(pool, given.seeds, 240)
        if "long" in wanted:
            against_search(pool, max(1, given.seeds // 20), given.tries)
        if "rivals" in wanted:
            tables = against_rivals(pool, max(1, given.seeds // 5))
    if "decisions" in wanted:
        print("\nA decision, 8 models on 4 devices of 24 GB")
        for queued in (100, 1_000, 10_000):
            decisions(queued, 20_000)
    if given.plots:
        plot(given.plots, ratios, tables)


if __name__ == "__main__":
    main()
