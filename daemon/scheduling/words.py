"""Why a lane waits, in a sentence for people who have to do something about it. Pure.

Each names who stands in the way, how much is missing, and about how long it takes, as far as that
is expected.
"""

from collections.abc import Iterable, Mapping, Sequence

from daemon.scheduling.claims import Claim
from daemon.scheduling.lanes import Lane
from daemon.scheduling.models import gib
from daemon.scheduling.reasons import Reason
from daemon.scheduling.residency import LEAVING, Placement, Residency
from daemon.scheduling.state import State

MOST_OF_ERROR = 120
"""Characters of a failed load's message."""


def why(state: State, lane: Lane, reason: Reason, claims: Mapping[int, Claim], now: float) -> str:
    """Say in words why a lane waits, for a reason that was found."""
    model = lane.model.name
    back_off = state.back_offs[model]
    if back_off.active(now) and not state.resident(model):
        error = " ".join(back_off.message.split())[:MOST_OF_ERROR]
        times = "" if back_off.failures == 1 else f" {back_off.failures} times"
        next_s = back_off.until_s - now
        return f"loading {model} failed{times} ({error}); next try in {next_s:.0f} s"
    match reason:
        case Reason.LOAD:
            return _of_load(state, model, now)
        case Reason.SWITCH:
            return _of_switch(state, lane, claims, now)
        case Reason.VRAM:
            return _of_memory(state, lane)
        case Reason.QUEUE:
            return _of_turn(state, lane, claims, now)


def _of_load(state: State, model: str, now: float) -> str:
    for place in state.placements_of[model]:
        if place.residency is Residency.LOADING:
            passed_s, durations = now - place.changed_s, state.durations
            if place.restoring:
                return (
                    f"{model} comes back from the host's memory: {passed_s:.0f} s of about "
                    f"{durations.restore_s(model):.0f} s"
                )
            return (
                f"{model} is being loaded: {passed_s:.0f} s of about "
                f"{durations.load_s(model):.0f} s"
            )
    return f"{model} is about to be loaded"


def _of_switch(state: State, lane: Lane, claims: Mapping[int, Claim], now: float) -> str:
    """Name those who leave for it, and when the last of their runs ends; or for whom it leaves."""
    claim = next((each for each in claims.values() if each.lane is lane), None)
    going = [place for place in state.placements_of[lane.model.name] if place.residency in LEAVING]
    if going and claim is None:
        first = _first(lane, claims.get(going[0].device))
        return f"{lane.model.name} is just being put away for {first}, and must come back"
    devices = (
        [place.device for place in state.placements_of[lane.model.name]]
        if claim is None
        else [claim.placement.device]
    )
    leaving = [
        place
        for device in devices
        for place in state.placements_on[device]
        if place.residency in LEAVING or (claim is not None and place in claim.victims)
    ]
    if not leaving:
        # Nobody has to go: the bytes come back with runs that end.
        leaving = [each for device in devices for each in state.placements_on[device] if each.runs]
    names = _names(place.model.name for place in leaving) or "another model"
    return f"the memory of {names} is being freed for it{_after_runs(leaving, now)}"


def _of_memory(state: State, lane: Lane) -> str:
    model = lane.model.name
    needed = state.need(lane)
    if not state.present(model):
        needed += state.estimates.weights(model)
    if not state.ever_fits(*lane.key):
        largest = max((each.usable_bytes for each in state.ledgers.values()), default=0)
        return (
            f"it needs more memory than there is: {gib(needed)}, and the largest device "
            f"offers {gib(largest)}"
        )
    holders = [
        each.model.name
        for place in state.placements_of[model]
        for each in state.placements_on[place.device]
        if each is not place and each.residency is not Residency.COLD
    ]
    if outside := sum(ledger.outside_bytes for ledger in state.ledgers.values()):
        holders.append(f"other programs ({gib(outside)})")
    held = f" is held by {_names(holders)}" if holders else " isn't free"
    free = max(0, *(ledger.free_bytes for ledger in state.ledgers.values()))
    return f"the memory it needs{held}: {gib(needed)} needed, {gib(free)} free"


def _of_turn(state: State, lane: Lane, claims: Mapping[int, Claim], now: float) -> str:
    """Say whose turn it is.

    1. Another model is loaded first.
    2. A run has its device for itself.
    3. It needs a device for itself.
    4. A slot is free, and a claim keeps it for somebody else.
    5. Its engine takes no more runs, or none until it was weighed.
    6. Its own model's runs have the slots, or all that the budget allows.
    """
    model = lane.model.name
    if not state.present(model):  # 1
        loading = _names(
            place.model.name
            for place in state.placements.values()
            if place.residency is Residency.LOADING
        )
        return f"{loading or 'another model'} is being loaded first: one model at a time"
    places = [place for place in state.placements_of[model] if place.residency not in _NOT_THERE]
    alone = [state.runs[state.exclusive[p.device]] for p in places if p.device in state.exclusive]
    if alone:  # 2
        name, place = alone[0].lane.model.name, alone[0].placement
        return f"a run of {name} has the device for itself{_after_runs([place], now)}"
    if lane.exclusive:  # 3
        others = [each for p in places for each in state.placements_on[p.device] if each.runs]
        return f"it needs the device for itself{_after_runs(others, now)}"
    for place in places:  # 4
        if state.may_start(place, lane):
            claim = claims.get(place.device)
            return f"its slot is kept for {_first(lane, claim)}, which goes first"
    return _of_slots(state, lane, places, now)  # 5, 6


def _of_slots(state: State, lane: Lane, places: Sequence[Placement], now: float) -> str:
    model = lane.model.name
    if all(place.doomed for place in places):
        return f"the engine of {model} leaks: it is replaced when idle{_after_runs(places, now)}"
    if any(place.weighing for place in places):
        waits = f"{model} starts nothing until it is idle and what it holds was measured"
        return waits + _after_runs(places, now)
    slots = any(state.slots(place, lane) > 0 for place in places)
    taken = f"{model} has used up its budget" if slots else f"every slot of {model} is taken"
    return taken + _next_end(places, now)


_NOT_THERE = frozenset({Residency.COLD, Residency.HOST, *LEAVING})


def _first(lane: Lane, claim: Claim | None) -> str:
    if claim is None or claim.lane is lane:
        return "another one"
    model, quality = claim.lane.key
    if claim.lane.exclusive:
        return f"a run of {model} {quality} that needs the device for itself"
    kind = "an interactive request of " if claim.lane.interactive else ""
    return f"{kind}{model} {quality}"


def _after_runs(places: Iterable[Placement], now: float) -> str:
    """Say when the last run of these is expected to end."""
    ends_s = [end_s for place in places for end_s in place.ends_s.values()]
    if not ends_s:
        return ""
    left_s = max(ends_s) - now
    when = f"end in about {left_s:.0f} s" if left_s > 0 else "are over their time"
    return f", after runs that {when}"


def _next_end(places: Iterable[Placement], now: float) -> str:
    """Say when the first run of these is expected to end."""
    ends_s = [end_s for place in places for end_s in place.ends_s.values()]
    if not ends_s:
        return ""
    left_s = min(ends_s) - now
    return f"; a run ends in about {left_s:.0f} s" if left_s > 0 else "; a run is over its time"


def _names(names: Iterable[str]) -> str:
    *most, last = sorted(set(names)) or [""]
    return f"{', '.join(most)} and {last}" if most else last
