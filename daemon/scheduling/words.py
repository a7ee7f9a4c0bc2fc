"""Why a lane waits, in a sentence for people. Pure."""

from daemon.scheduling.lanes import Lane
from daemon.scheduling.reasons import Reason
from daemon.scheduling.residency import Residency
from daemon.scheduling.state import State


def why(state: State, lane: Lane, now: float) -> str:
    """Say in words why a lane waits."""
    model = lane.model.name
    if (back_off := state.back_offs[model]).active(now) and not state.resident(model):
        return f"loading {model} failed; next try in {back_off.until_s - now:.0f} s"
    if lane.exclusive and lane.clock.reason is Reason.QUEUE:
        return "it needs the device for itself"
    return _in_words(state, lane, model, _others(state, model))


def _others(state: State, model: str) -> str:
    """Name who else is on the devices."""
    holders = sorted(
        {
            each.model.name
            for place in state.placements_of[model]
            for each in state.placements_on[place.device]
            if each is not place and each.residency is not Residency.COLD
        }
    )
    return " and ".join(holders) or "nobody"


def _in_words(state: State, lane: Lane, model: str, others: str) -> str:
    match lane.clock.reason:
        case Reason.LOAD:
            return f"{model} is being loaded"
        case Reason.SWITCH:
            return f"the memory of {others} is being freed for it"
        case Reason.VRAM if state.ever_fits(*lane.key):
            return f"the memory it needs is held by {others}{_outside(state)}"
        case Reason.VRAM:
            return "it needs more memory than there is"
        case Reason.QUEUE:
            return _turn(state, lane, model)


def _turn(state: State, lane: Lane, model: str) -> str:
    if not state.present(model):
        return f"{_loading(state)} is being loaded first: one model at a time"
    if any(state.may_start(place, lane) for place in state.placements_of[model]):
        return "its slot is kept for somebody who goes first"
    if any(place.weighing for place in state.placements_of[model]):
        return f"{model} starts nothing until it is idle and what it holds was measured"
    return f"every slot of {model} is taken"


def _loading(state: State) -> str:
    names = {
        place.model.name
        for place in state.placements.values()
        if place.residency is Residency.LOADING
    }
    return " and ".join(sorted(names)) or "another model"


def _outside(state: State) -> str:
    used = sum(ledger.outside_bytes for ledger in state.ledgers.values())
    return f", and {used / 2**30:.1f} GB by other programs" if used else ""
