"""Demand: the jobs that the scheduler can take now; what it doesn't ask for stays in the table."""

from daemon.scheduling.models import ModelSpec, QualitySpec
from daemon.scheduling.policy import Policy
from daemon.scheduling.residency import PRESENT
from daemon.scheduling.state import State
from daemon.values import Demand


def demand_of(state: State, policy: Policy, now: float) -> tuple[Demand, ...]:
    """Return what could be taken, at most one entry per class.

    1. A model in load back-off that is nowhere present: nothing.
    2. A model that is present and may be used: for each class its free slots minus what waits,
       or one job to look ahead where a class has no slot, no run and nobody waiting. Without
       that look ahead, the policy would never learn that work for the class waits.
    3. Any other model: one job of any of its types to look ahead, unless one waits already.
    """
    demands: list[Demand] = []
    for model in state.models.values():
        present = state.present(model.name)
        if not present and state.back_offs[model.name].active(now):  # 1
            continue
        qualities = [
            quality
            for quality in model.qualities.values()
            if quality.job_types and state.ever_fits(model.name, quality.name)
        ]
        if present and any(_usable(state, policy, quality, model, now) for quality in qualities):
            for quality in qualities:  # 2
                count = _count(state, policy, model, quality, now)
                if count > 0:
                    demands.append(Demand(quality.job_types, count))
        elif qualities and not state.waiting_of[model.name]:  # 3
            job_types = tuple(name for quality in qualities for name in quality.job_types)
            demands.append(Demand(job_types, 1))
    return tuple(demands)


def _usable(
    state: State, policy: Policy, quality: QualitySpec, model: ModelSpec, now: float
) -> bool:
    """Whether the policy would let the class run on any placement, slots apart."""
    lane = state.lanes[model.name, quality.name, False]
    return any(
        placement.residency in PRESENT and policy.lets_start(state, lane, placement, now)
        for placement in state.placements_of[model.name]
    )


def _count(state: State, policy: Policy, model: ModelSpec, quality: QualitySpec, now: float) -> int:
    lane = state.lanes[model.name, quality.name, False]
    slots = sum(
        state.free_slots(placement, quality.name)
        for placement in state.placements_of[model.name]
        if placement.residency in PRESENT and policy.lets_start(state, lane, placement, now)
    )
    waiting = state.waiting_in(model.name, quality.name)
    look_ahead = 0 if waiting or lane.running else 1
    return max(slots - waiting, look_ahead)
