"""Who makes room: which models go from a device, and what that costs. Pure."""

from collections.abc import Sequence

from daemon.scheduling.lanes import Lane
from daemon.scheduling.residency import AWAY, HOLDING, LEAVING, Placement, Residency
from daemon.scheduling.state import State


def cheapest(
    state: State, lane: Lane, place: Placement, missing: int, now: float
) -> list[Placement] | None:
    """Return few other models of the device that hold `missing` bytes, None if all don't.

    Two choices are compared: those on which the least runs, and those that are least missed. What
    engines keep whose weights are in the host's memory is little, and the last to go.
    """
    if missing <= 0:
        return []
    here, host = _others(state, place)
    sizes = [n_bytes for _, n_bytes in (*here, *host)]
    if sum(sizes) < missing:
        return None
    if len(here) < 2 or sum(sizes) - min(sizes) < missing:  # noqa: PLR2004  no choice
        return fewest([*here, *host], missing)
    busy, missed = _ranked(state, here, now)
    first = fewest([*busy, *host], missing)
    other = fewest([*missed, *host], missing)
    if set(map(id, first)) == set(map(id, other)):
        return first
    return min((first, other), key=lambda victims: _loss(state, lane, place, victims, now))


Sized = tuple[Placement, int]
"""A placement, and the bytes that would be free without it."""


def _others(state: State, place: Placement) -> tuple[list[Sized], list[Sized]]:
    """Return who else holds bytes of the device: with its weights there, and in the host's."""
    ledger = state.ledgers[place.device]
    here: list[Sized] = []
    host: list[Sized] = []
    for each in state.warm_on[place.device]:
        if each is not place and each.residency in HOLDING:
            sized = each, ledger.weights_of(each.model.name)
            (host if each.residency is Residency.HOST else here).append(sized)
    return here, host


def _ranked(state: State, here: list[Sized], now: float) -> tuple[list[Sized], list[Sized]]:
    """Return them in two orders; who loads is the last in both.

    1. Fewest runs, nobody waits, least missed: counting runs makes the choice settle, since who
       drains has fewer and fewer, and the others don't.
    2. Least missed: by the seconds of loading that are to be expected again, for the bytes.
    """
    busy = []
    missed = []
    for number, sized in enumerate(here):
        each, n_bytes = sized
        name, idle_s = each.model.name, each.idle_since_s
        loading = each.residency is Residency.LOADING
        again_s = state.arrivals[name].per_second(now) * back_s(state, each) / max(1, n_bytes)
        waited_for = not each.runs and state.has_work(name)
        busy.append((loading, each.runs, waited_for, again_s, idle_s, number))
        missed.append((loading, again_s, idle_s, number))
    busy.sort()
    missed.sort()
    return [here[rank[-1]] for rank in busy], [here[rank[-1]] for rank in missed]


def fewest(candidates: Sequence[Sized], missing: int) -> list[Placement]:
    """Return few of the candidates, the first ones first, that hold `missing` bytes of weights.

    All of them hold so many.
    """
    chosen: list[Sized] = []
    for candidate in candidates:
        if missing <= 0:
            break
        chosen.append(candidate)
        missing -= candidate[1]
    # An early small one may have become unnecessary by a later large one.
    needed = []
    for each, n_bytes in chosen:
        if missing + n_bytes <= 0:
            missing += n_bytes
        else:
            needed.append(each)
    return needed


def weights(state: State, placement: Placement) -> int:
    """Return the bytes that would be free without the model."""
    return state.ledgers[placement.device].weights_of(placement.model.name)


def bytes_needed(state: State, lane: Lane, place: Placement) -> int:
    """Return what must be free for the lane's next step there: to load, or to run."""
    if place.residency in AWAY:
        return max(0, state.estimates.weights(lane.model.name) - weights(state, place))
    return state.need(lane)


def ready_s(
    state: State, lane: Lane, place: Placement, victims: Sequence[Placement], now: float
) -> float:
    """Return when the bytes are expected to be free, once nothing starts in the way."""
    ledger = state.ledgers[place.device]
    missing = bytes_needed(state, lane, place) - ledger.free_bytes
    busy: list[tuple[Placement, bool]] = []
    for each in state.warm_on[place.device]:
        goes = each in victims
        if each.residency in LEAVING or (goes and not each.runs):
            missing -= weights(state, each)
        elif each.runs:
            busy.append((each, goes))
    if missing <= 0:
        return now
    ends: list[tuple[float, int]] = []
    for each, goes in busy:
        name = each.model.name
        reserved = ledger.reserved_by(name)
        if goes:
            ends.append((each.drained_s(now), weights(state, each) + reserved))
        elif reserved:
            ends.extend((at, ledger.reservation(name, run)) for run, at in each.ends_s.items())
    for at, n_bytes in sorted(ends):
        if missing <= 0:
            break
        missing -= n_bytes
        now = max(now, at)
    return now


def _loss(
    state: State, lane: Lane, place: Placement, victims: Sequence[Placement], now: float
) -> float:
    """Return the weighted seconds that are lost by a choice.

    The lane waits until the bytes are free. Who waits for a victim waits for a run of the lane
    and for a load, and whoever is to be expected meanwhile waits for the load.
    """
    waiting = _weight_waiting(state, lane.model.name)
    loss = waiting * (ready_s(state, lane, place, victims, now) - now)
    for victim in victims:
        name = victim.model.name
        waits = _weight_waiting(state, name)
        run_s, load_s = state.durations.run_s(lane.key), back_s(state, victim)
        expected = min(1.0, state.arrivals[name].per_second(now) * run_s)
        loss += waits * (run_s + load_s) + expected * load_s
    return loss


def _weight_waiting(state: State, model: str) -> float:
    lanes = state.lanes_by_model[model]
    return sum([lane.weight * (lane.waiting + lane.unclaimed) for lane in lanes])


def leave_s(state: State, placement: Placement) -> float:
    """Return what it takes to put an idle model away, as it would be now."""
    name = placement.model.name
    if goes_to_host(state, placement):
        return state.durations.offload_s(name)
    return state.durations.unload_s(name)


def back_s(state: State, placement: Placement) -> float:
    """Return what it takes to bring a model back that would be put away now."""
    name = placement.model.name
    if goes_to_host(state, placement):
        return state.durations.restore_s(name)
    return state.durations.load_s(name)


def goes_to_host(state: State, placement: Placement) -> bool:
    """Whether the weights would go to the host's memory: the engine can, and there is room.

    Those that are there already go to disk, for what their engine keeps on the device.
    """
    if not placement.offloads or placement.doomed or placement.residency is Residency.HOST:
        return False
    return state.host.free_bytes >= weights(state, placement)
