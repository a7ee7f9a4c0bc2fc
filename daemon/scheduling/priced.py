"""A certified lower bound that knows loads, by prices on time. Needs the extra `simulate`.

Lagrangian relaxation. A price is set on each job's being served in each step of time. Then

- every job alone chooses the start at which its cost and the prices of its run are least;
- every device alone chooses the residencies, loads and runs that earn the most, by `graph`.

What the jobs pay less what the devices earn is a lower bound, whatever the prices are. Proof: take
any schedule, and look at its devices at the moments `offset`, `offset + step`, ... What is seen is
a path of each device's graph, on which each job is seen whenever it runs; these paths together
earn no more than the best ones do. On the average over all offsets below a step, a job that is
seen earns the integral of its prices over its run, divided by the step. So what the schedule
costs is at least its cost, plus those integrals, less what the best paths earn; and each job's
part of the first two is at least what it would choose to pay.

Prices are found by subgradient steps: a job that chooses what no device offers it raises them.
They make the bound good and aren't needed for the proof.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from daemon.scheduling.bound import lower_bound, servable
from daemon.scheduling.earnings import Earnings
from daemon.scheduling.graph import Class, Graph, TooLargeError, graph_of
from daemon.scheduling.payments import Payments, Prices
from daemon.scheduling.simulation import Outcome, World
from daemon.scheduling.trace import Trace

STEP_S = 4.0
"""Shorter ones cost time and gain little; loads count in whole steps, rounded down."""

WINDOW_S = 900.0
"""So long after its arrival a job's service has prices, where nobody knows better; later it is
free."""

_SHORTEST_WINDOW_S = 300.0

ROUNDS = 400

PART = 300
"""Jobs that are bounded together: a long trace is the sum of its parts, each alone."""

_LEAD_S = 60.0
"""A part begins so long before its first job, on devices that may hold anything by then."""

_FIRST_STRIDE, _LAST_STRIDE = 6.0, 0.1
"""Steps that a price moves where a job's whole step is missing, each worth the job's weight."""

_KEPT = 0.9
"""Of a direction, from round to round."""

_ROUNDING = 1e-9
"""What sums of seconds may be off by, as a share: three tenths are three steps of a tenth."""


def priced_bound(
    trace: Trace,
    world: World,
    *,
    known: Outcome | None = None,
    rounds: int = ROUNDS,
    step_s: float = STEP_S,
) -> float:
    """Return a number that the cost of no schedule is below, weighted seconds.

    Never less than `lower_bound`, which is all there is where too many models fit beside one
    another. Of 300 jobs half a minute's work.

    Args:
        trace: what is to be served.
        world: where.
        known: a schedule; how long its jobs wait says how long prices are of use.
        rounds: more make the bound better, and take longer.
        step_s: the length of a step.
    """
    jobs = sorted(servable(trace, world), key=lambda job: job.arrives_s)
    window_s = WINDOW_S if known is None else max(_SHORTEST_WINDOW_S, 2 * known.wait_s(1))
    window = int(window_s / step_s)
    parts = [jobs[at : at + PART] for at in range(0, len(jobs), PART)]
    bounds = [_part_bound(part, world, window, rounds, step_s) for part in parts]
    return max(lower_bound(trace, world), sum(bounds))


def _part_bound(jobs: Trace, world: World, window: int, rounds: int, step_s: float) -> float:
    """Return the bound of some jobs as if there were no others."""
    used = {job.model for job in jobs}
    models = [model for model in world.models if model.name in used]
    classes = [(model.name, quality) for model in models for quality in model.qualities]
    begins_s = max(0.0, jobs[0].arrives_s - _LEAD_S)
    moved = [replace(job, arrives_s=job.arrives_s - begins_s) for job in jobs]
    moved.sort(key=lambda job: classes.index((job.model, job.quality)))
    try:
        graphs = _graphs(moved, replace(world, models=models), classes, step_s)
    except TooLargeError:
        return lower_bound(jobs, world)
    payments = Payments(moved, step_s, window)
    devices = [
        (Earnings(graph, classes, moved, payments, from_empty=begins_s == 0), count)
        for graph, count in graphs
    ]
    return max(lower_bound(jobs, world), _ascend(payments, devices, rounds))


def _graphs(
    jobs: Trace, world: World, classes: Sequence[Class], step_s: float
) -> list[tuple[Graph, int]]:
    """Return the graphs of devices, and how many devices are alike."""
    counted = Counter((job.model, job.quality) for job in jobs)
    costs = world.costs
    load_s = dict(costs.load_s)
    if world.host_bytes:
        load_s = {name: min(each, costs.restore_s.get(name, 0.0)) for name, each in load_s.items()}
    steps = {model.name: int(load_s[model.name] / step_s + _ROUNDING) for model in world.models}
    most = {each: counted[each] for each in classes}
    alike = Counter(device.usable_bytes for device in world.devices)
    return [
        (graph_of(world.models, usable_bytes, steps, most), count)
        for usable_bytes, count in alike.items()
    ]


def _ascend(payments: Payments, devices: Sequence[tuple[Earnings, int]], rounds: int) -> float:
    """Return the best bound of so many rounds."""
    prices: Prices = np.zeros(payments.columns.shape)
    direction = np.zeros_like(prices)
    worth = payments.weights * payments.step_s
    best = 0.0
    for number in range(rounds):
        bound, missing = payments.least(prices)
        for device, count in devices:
            earned, served = device.most(prices)
            bound, missing = bound - count * earned, missing - count * served
        best = max(best, bound)
        missing[(prices <= 0) & (missing < 0)] = 0.0
        direction = _KEPT * direction + (1 - _KEPT) * missing
        stride = _FIRST_STRIDE * (_LAST_STRIDE / _FIRST_STRIDE) ** (number / rounds)
        prices = np.maximum(0.0, prices + stride * worth * direction)
    return best * (1 - _ROUNDING)
