"""Demand: the jobs that the scheduler can take now; what it doesn't ask for stays in the table."""

from collections.abc import Mapping

from daemon.scheduling.claims import Claim
from daemon.scheduling.lanes import Lane
from daemon.scheduling.models import ModelSpec, QualitySpec
from daemon.scheduling.policy import Policy
from daemon.scheduling.residency import PRESENT, Placement
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
    claims = policy.claims(state, now)
    for model in state.models.values():
        present = state.present(model.name)
        if not present and state.back_offs[model.name].active(now):  # 1
            continue
        qualities = [
            quality
            for quality in model.qualities.values()
            if quality.job_types and state.ever_fits(model.name, quality.name)
        ]
        if present and any(_usable(state, claims, quality, model) for quality in qualities):
            for quality in qualities:  # 2
                count = _count(state, claims, model, quality)
                if count > 0:
                    demands.append(Demand(quality.job_types, count))
        elif qualities and not state.waiting_of[model.name]:  # 3
            job_types = tuple(name for quality in qualities for name in quality.job_types)
            demands.append(Demand(job_types, 1))
    return tuple(demands)


def _usable(
    state: State, claims: Mapping[int, Claim], quality: QualitySpec, model: ModelSpec
) -> bool:
    """Whether the claims would let the class run on any placement, slots apart."""
    lane = state.lane(model.name, quality.name)
    return any(
        placement.residency in PRESENT and _lets_start(state, claims, lane, placement)
        for placement in state.placements_of[model.name]
    )


def _count(
    state: State, claims: Mapping[int, Claim], model: ModelSpec, quality: QualitySpec
) -> int:
    lane = state.lane(model.name, quality.name)
    slots = sum(
        state.free_slots(placement, lane)
        for placement in state.placements_of[model.name]
        if placement.residency in PRESENT and _lets_start(state, claims, lane, placement)
    )
    waiting = state.waiting_in(model.name, quality.name)
    look_ahead = 0 if waiting or lane.running else 1
    return max(slots - waiting, look_ahead)


def _lets_start(
    state: State, claims: Mapping[int, Claim], lane: Lane, placement: Placement
) -> bool:
    """Whether no claim of another lane forbids it."""
    claim = claims.get(placement.device)
    return claim is None or claim.lane is lane or not claim.forbids(state, lane, placement)
