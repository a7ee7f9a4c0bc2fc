"""How a claim gets its bytes: evictions and loads, and what is left for others. Pure."""

from collections.abc import Mapping

from daemon.scheduling.claims import Claim
from daemon.scheduling.commands import Command, LoadModel, OffloadModel, UnloadModel
from daemon.scheduling.lanes import Lane
from daemon.scheduling.residency import AWAY, LEAVING, Placement, Residency
from daemon.scheduling.state import State
from daemon.scheduling.victims import bytes_needed, goes_to_host, weights


def pursue(state: State, claim: Claim, now: float, spared_s: float) -> Command | None:
    """Return what brings a claim nearer now.

    0. A run has the device for itself: nothing does.
    1. Who is idle goes only if the bytes will then be free: it may be of use until others have
       drained.
    2. It goes only if it has been idle for `spared_s`, or has work: then it was weighed. The moment
       is worked out as the deadline is, or rounding would let a tick at the deadline miss it.
    3. The bytes are free: load; who needs the device for itself, only when all others are gone.
    """
    place = claim.placement
    here = state.warm_on[place.device]
    idle = [each for each in claim.victims if not each.runs]
    leaving = [each for each in here if each.residency in LEAVING]
    free = state.ledgers[place.device].free_bytes
    coming = sum(weights(state, each) for each in (*idle, *leaving))
    needed = bytes_needed(state, claim.lane, place)
    if place.device in state.exclusive:  # 0
        return None
    if free + coming < needed or (claim.lane.exclusive and len(idle) < len(claim.victims)):  # 1
        return None
    for victim in idle:
        if victim.residency not in {Residency.RESIDENT, Residency.HOST}:
            continue
        resident = victim.residency is Residency.RESIDENT
        spared = resident and victim.idle_since_s + spared_s > now
        if spared and not state.has_work(victim.model.name):  # 2
            return None
        return put_away(state, victim, to_disk=claim.lane.exclusive)
    able = place.residency in AWAY and place.device not in state.loading and free >= needed
    if able and (not claim.lane.exclusive or state.alone(place)):  # 3
        return LoadModel(place.model.name, place.device)
    return None


def put_away(state: State, place: Placement, *, to_disk: bool = False) -> Command:
    """Return how an idle model leaves the device: to the host's memory where it may wait there."""
    name, device = place.model.name, place.device
    if not to_disk and place.residency is Residency.RESIDENT and goes_to_host(state, place):
        return OffloadModel(name, device)
    return UnloadModel(name, device)


def room_by_device(state: State, claims: Mapping[int, Claim]) -> dict[int, int]:
    """Return the free bytes that no claim needs, of each device that may load now."""
    room: dict[int, int] = {}
    for device, ledger in state.ledgers.items():
        # Nothing loads beside another load, or beside a run that needs the device for itself.
        claim = claims.get(device)
        whole = device in state.exclusive or (claim is not None and claim.lane.exclusive)
        if device not in state.loading and not whole:
            free = ledger.free_bytes
            room[device] = free if claim is None else min(free, claim.spare_bytes)
    return room


def lacks_only_bytes(state: State, lane: Lane, place: Placement) -> bool:
    """Whether the lane would start on the placement if the device had more free bytes."""
    if place.doomed:
        return not place.runs
    if lane.exclusive and (place.runs or not state.alone(place)):
        return not place.runs
    ledger, need = state.ledgers[place.device], state.need(lane)
    return (
        ledger.free_bytes < need
        and state.slots(place, lane) > 0
        and ledger.budget_room_of(lane.model.name) >= need
    )
