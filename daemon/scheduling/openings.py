"""Where a lane's next request can start now, and where its model can load. Pure."""

from collections.abc import Mapping

from daemon.scheduling.claims import Claim
from daemon.scheduling.commands import LoadModel, StartRun
from daemon.scheduling.lanes import Lane
from daemon.scheduling.residency import AWAY, Placement, Residency
from daemon.scheduling.room import lacks_only_bytes
from daemon.scheduling.state import State
from daemon.scheduling.worth import piece_of


def start(state: State, lane: Lane, claims: Mapping[int, Claim]) -> StartRun | None:
    """Start the lane's next request on the least busy placement that may take it."""
    best: Placement | None = None
    for place in state.present_of[lane.model.name]:
        if place.residency is not Residency.RESIDENT or (best and place.runs >= best.runs):
            continue
        claim = claims.get(place.device)
        if state.free_slots(place, lane) > 0 and (
            claim is None or not claim.forbids(state, lane, place)
        ):
            best = place
    if best is None:
        return None
    return StartRun(lane.head().request.id, lane.model.name, best.device)


def load_into_room(
    state: State, lane: Lane, room: Mapping[int, int], now: float
) -> LoadModel | None:
    """Load the lane's model on the emptiest device with room for weights and run, if any.

    1. No device has the room, it is being loaded, or in back-off: nothing.
    2. It is there, and its work will be over before another copy is: nothing.
    """
    model = lane.model.name
    need = bytes_with_run(state, lane)
    places = state.placements_of[model]
    if lane.exclusive or need > max(room.values(), default=-1):  # 1
        return None
    loading = any(place.residency is Residency.LOADING for place in places)
    if loading or state.back_offs[model].active(now):
        return None
    if state.present(model) and not pays_a_copy(state, lane):  # 2
        return None
    roomy = [
        place for place in places if place.residency in AWAY and room.get(place.device, -1) >= need
    ]
    if not roomy:
        return None
    # Where its engine waits already it is there soonest.
    best = max(
        roomy, key=lambda place: (-state.load_s(place), state.ledgers[place.device].free_bytes)
    )
    return LoadModel(model, best.device)


def bytes_with_run(state: State, lane: Lane) -> int:
    """Return what a load for the lane needs: the weights, and a run."""
    return state.estimates.weights(lane.model.name) + state.need(lane)


def pays_a_copy(state: State, lane: Lane) -> bool:
    """Whether the waiting work takes longer than it takes to load another copy."""
    return piece_of(state, lane).seconds > state.durations.load_s(lane.model.name)


def is_behind(state: State, lane: Lane) -> bool:
    """Whether another lane of the same model is more eager: it runs first."""
    eagerness = lane.eagerness
    for other in state.lanes_by_model[lane.model.name]:
        if other.eagerness > eagerness and other.waiting:
            return True
    return False


def lacks_more_than_slots(state: State, lane: Lane) -> bool:
    """Whether the model is nowhere, not even on its way, or only where bytes are missing."""
    for place in state.present_of[lane.model.name]:  # noqa: SIM110  asked of every lane each time
        if not lacks_only_bytes(state, lane, place):
            return False
    return True
