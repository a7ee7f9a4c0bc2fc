"""What each lane waits for at this moment, put down on its clock. Pure."""

from collections.abc import Mapping, Sequence

from daemon.scheduling.claims import Claim
from daemon.scheduling.lanes import Lane
from daemon.scheduling.reasons import Reason
from daemon.scheduling.residency import LEAVING, PRESENT, Placement, Residency
from daemon.scheduling.room import lacks_only_bytes
from daemon.scheduling.state import State


def account(state: State, claims: Mapping[int, Claim], now: float) -> None:
    """Let each lane's clock run for the reason that holds from now on."""
    claimed = {id(claim.lane): claim for claim in claims.values()}
    for lane in state.lanes:
        if lane.waiting:
            lane.clock.turn(reason_of(state, claimed.get(id(lane)), lane, now), now)


def reason_of(state: State, claim: Claim | None, lane: Lane, now: float) -> Reason:
    """Return what a lane waits for.

    1. Its model is being loaded, or can't be for the moment.
    2. It has a claim, and others drain or leave for it; or its own model is just leaving.
    3. Its model is there, or comes, and lacks only bytes.
    4. Its turn: slots are taken or kept for others, or another model is loaded first, with room
       enough for this one.
    5. Its model is nowhere: others have the memory.
    """
    model = lane.model.name
    places = state.placements_of[model]
    if not state.resident(model):
        loading = any(place.residency is Residency.LOADING for place in places)
        if loading or state.back_offs[model].active(now):
            return Reason.LOAD  # 1
    if claim is not None and claim.victims:
        return Reason.SWITCH  # 2
    here = [place for place in places if place.residency in PRESENT]
    if here:
        return _reason_here(state, lane, here)
    if any(place.residency in LEAVING for place in places):
        return Reason.SWITCH  # 2
    if any(_may_load_next(state, lane, place.device) for place in places):
        return Reason.QUEUE  # 4
    return Reason.VRAM if claim is None else Reason.SWITCH  # 5, 2


def _reason_here(state: State, lane: Lane, here: Sequence[Placement]) -> Reason:
    """Return what a lane waits for whose model is there, or comes: 2, 3 or 4."""
    for place in here:
        if lacks_only_bytes(state, lane, place):
            on_device = state.warm_on[place.device]
            leaving = any(each.residency in LEAVING for each in on_device)
            return Reason.SWITCH if leaving else Reason.VRAM
    return Reason.QUEUE


def _may_load_next(state: State, lane: Lane, device: int) -> bool:
    """Whether only another load stands between the lane's model and a device."""
    need = state.estimates.weights(lane.model.name) + state.need(lane)
    return device in state.loading and state.ledgers[device].free_bytes >= need
