"""How a claim gets its bytes: evictions and loads, and what is left for others. Pure."""

from collections.abc import Mapping

from daemon.scheduling.claims import Claim
from daemon.scheduling.commands import Command, LoadModel, UnloadModel
from daemon.scheduling.lanes import Lane
from daemon.scheduling.residency import Placement, Residency
from daemon.scheduling.state import State
from daemon.scheduling.victims import bytes_needed, weights


def pursue(state: State, claim: Claim, idle_since_s: float) -> Command | None:
    """Return what brings a claim nearer now.

    1. Who is idle goes only if the bytes will then be free: it may be of use until others have
       drained.
    2. It goes only if it has been idle since then, or has work: then it was weighed.
    3. The bytes are free: load.
    """
    place = claim.placement
    here = state.placements_on[place.device]
    idle = [each for each in claim.victims if not each.runs]
    leaving = [each for each in here if each.residency is Residency.EVICTING]
    free = state.ledgers[place.device].free_bytes
    coming = sum(weights(state, each) for each in (*idle, *leaving))
    if free + coming < bytes_needed(state, claim.lane, place):  # 1
        return None
    for victim in idle:
        if victim.residency is not Residency.RESIDENT:
            continue
        if victim.idle_since_s > idle_since_s and not state.has_work(victim.model.name):  # 2
            return None
        return UnloadModel(victim.model.name, victim.device)
    if place.residency is not Residency.COLD or place.device in state.loading:
        return None
    if free < state.estimates.weights(place.model.name):
        return None
    return LoadModel(place.model.name, place.device)  # 3


def room_by_device(state: State, claims: Mapping[int, Claim]) -> dict[int, int]:
    """Return the free bytes that no claim needs, of each device that may load now."""
    room: dict[int, int] = {}
    for device, ledger in state.ledgers.items():
        if device not in state.loading:  # nothing loads beside another load
            claim = claims.get(device)
            free = ledger.free_bytes
            room[device] = free if claim is None else min(free, claim.spare_bytes)
    return room


def lacks_only_bytes(state: State, lane: Lane, place: Placement) -> bool:
    """Whether the lane would start on the placement if the device had more free bytes."""
    quality = lane.quality
    ledger = state.ledgers[place.device]
    need = state.estimates.activation(*lane.key)
    return (
        place.runs < lane.model.max_concurrent
        and place.runs_by_quality.get(quality.name, 0) < quality.concurrency
        and ledger.budget_room_of(lane.model.name) >= need
        and ledger.free_bytes < need
    )
