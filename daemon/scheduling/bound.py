"""What no schedule can be better than: a quick, certified lower bound. Pure. See also `priced`.

A relaxation that is solved exactly. Runs may be interrupted, loads take no time, and a device's
memory is a fluid that runs share: a job needs its seconds times the bytes that it keeps from
others. Those are its reservation and its share of the weights: they are held once for all runs of
the model, of which there are never more than `max_concurrent`. In that world the sum of weighted
mean busy times is least if at any time the job with the most weight for its fluid goes first
(Goemans, 1997); a run's end comes half its seconds after its mean busy time.
"""

import heapq
from collections.abc import Sequence

from daemon.scheduling.estimates import Estimates
from daemon.scheduling.models import DeviceSpec, ModelSpec
from daemon.scheduling.simulation import Costs, World
from daemon.scheduling.trace import Trace, TraceJob


def lower_bound(trace: Trace, world: World) -> float:
    """Return a number that the cost of no schedule is below, weighted seconds.

    Of any part of the jobs the larger of two bounds counts, as if the others weren't there: the
    fluid one, and one without contention, in which each job waits for nothing but the first load
    of its model. The trace is cut into parts of several lengths; the best cut is returned.
    """
    by_name = {each.name: each for each in world.models}
    jobs = sorted(servable(trace, world), key=lambda job: job.arrives_s)

    def cut(length: int) -> float:
        parts = (jobs[at : at + length] for at in range(0, len(jobs), length))
        return sum(
            max(_fluid(part, by_name, world.devices), _alone(part, world.costs)) for part in parts
        )

    return max((cut(length) for length in (*_PARTS, max(1, len(jobs)))), default=0.0)


def servable(trace: Trace, world: World) -> list[TraceJob]:
    """Return the jobs that some device can take: the others are refused, and cost nothing."""
    estimates = Estimates(world.models)
    budgets = {model.name: model.budget_bytes for model in world.models}
    largest = max((device.usable_bytes for device in world.devices), default=-1)

    def fits(job: TraceJob) -> bool:
        weights = estimates.weights(job.model)
        needed = weights + estimates.activation(job.model, job.quality)
        return weights <= budgets[job.model] and needed <= largest

    return [job for job in trace if fits(job)]


_PARTS = (1, 5, 10, 20, 40, 80, 160)


def _alone(trace: Trace, costs: Costs) -> float:
    """Return the cost if every job started at once; clairvoyance may load before it arrives."""
    return sum(
        job.weight * (job.run_s + max(0.0, costs.load_s[job.model] - job.arrives_s))
        for job in trace
    )


def _fluid(trace: Trace, models: dict[str, ModelSpec], devices: Sequence[DeviceSpec]) -> float:
    capacity = max(1, sum(device.usable_bytes for device in devices))
    estimates = Estimates(models.values())
    fluid_s = {job.id: _bytes(job, models, estimates) / capacity * job.run_s for job in trace}
    busy = _mean_busy_s(trace, fluid_s)
    return sum(job.weight * (busy[job.id] + job.run_s / 2 - job.arrives_s) for job in trace)


def _bytes(job: TraceJob, models: dict[str, ModelSpec], estimates: Estimates) -> float:
    """Return the bytes that nobody else can have while the job runs."""
    share = estimates.weights(job.model) / models[job.model].max_concurrent
    return share + estimates.activation(job.model, job.quality)


def _mean_busy_s(trace: Trace, fluid_s: dict[str, float]) -> dict[str, float]:
    """Return when, on the average, each job is served, the best weight for its fluid first."""
    arriving = sorted(trace, key=lambda job: job.arrives_s)
    left = dict(fluid_s)
    served = dict.fromkeys(left, 0.0)
    ready: list[tuple[float, str]] = []
    now, position = 0.0, 0
    while ready or position < len(arriving):
        if not ready:
            now = max(now, arriving[position].arrives_s)
        while position < len(arriving) and arriving[position].arrives_s <= now:
            job = arriving[position]
            heapq.heappush(ready, (-job.weight / max(1e-9, fluid_s[job.id]), job.id))
            position += 1
        _, name = ready[0]
        until = arriving[position].arrives_s if position < len(arriving) else float("inf")
        seconds = min(left[name], until - now)
        served[name] += seconds * (now + seconds / 2)
        now, left[name] = now + seconds, left[name] - seconds
        if left[name] <= 1e-9:  # noqa: PLR2004  what rounding leaves
            heapq.heappop(ready)
    return {name: served[name] / max(1e-9, fluid_s[name]) for name in fluid_s}
