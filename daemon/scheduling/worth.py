"""What serving a lane is worth: weight served per second, with what a switch takes. Pure.

The rule is Smith's, with set-up times: of two pieces of work that exclude one another, the one with
more weight per second goes first; a switch adds to its seconds the loads there and back. Within a
piece the best prefix counts, since nobody has to wait for its tail.
"""

from collections.abc import Callable, Iterable
from itertools import combinations
from operator import attrgetter
from typing import NamedTuple

from daemon.scheduling.claims import Claim
from daemon.scheduling.lanes import Lane, Piece
from daemon.scheduling.residency import AWAY, LEAVING, PRESENT, Placement
from daemon.scheduling.state import State
from daemon.scheduling.victims import back_s, leave_s

SET_UP_COUNTS = 6.0
"""A switch delays what arrives meanwhile as well: its seconds count so often. Found by simulation:
on batches and with little work it changes nothing; near saturation 6 costs 4 % less than 3, and
up to 12 it is flat, with fewer switches and somewhat longer waits."""


_rate = attrgetter("rate")


def piece_of(state: State, lane: Lane) -> Piece:
    """Return the lane's waiting work, served with all its slots."""
    return lane.piece(state.durations.runs[lane.key].expected_s)


def best_rate(set_up_s: float, pieces: Iterable[Piece]) -> float:
    """Return the highest weight per second that a prefix of the pieces, best first, comes to."""
    best, weight, seconds = 0.0, 0.0, set_up_s
    for piece in sorted(pieces, key=_rate, reverse=True):
        weight += piece.weight
        seconds += piece.seconds
        rate = weight / seconds
        best = max(best, rate)
    return best


def pieces_of(state: State, model: str) -> list[Piece]:
    """Return the waiting work of one model."""
    lanes = state.lanes_by_model[model]
    return [piece_of(state, lane) for lane in lanes if lane.waiting or lane.unclaimed]


def gain_of(state: State, claim: Claim) -> float:
    """Return the weight per second that a claim's work comes to, 0 where it has no right.

    Its seconds are those of the switch and of its work, and of the switch back to each victim
    that still has work. The time until the victims' runs have ended doesn't count.
    A model that was loaded for work that still waits stays until it has served some of it, while
    anything runs on the device, or when its last load was in vain too: two could undo each
    other's loads for ever.
    """
    model, device = claim.placement.model.name, claim.placement.device
    set_up_s = 0.0
    if claim.placement.residency in AWAY:
        set_up_s += state.load_s(claim.placement)
    for victim in claim.victims:
        set_up_s += leave_s(state, victim)
        if state.has_work(victim.model.name):
            if not victim.served and (victim.in_vain or _busy(state, device)):
                return 0.0
            set_up_s += back_s(state, victim) + state.durations.unload_s(model)
    return best_rate(SET_UP_COUNTS * set_up_s, pieces_of(state, model))


def is_worth(state: State, claim: Claim, rival: Callable[[Placement], Claim | None]) -> bool:
    """Whether the claim's work is worth more per second than what it keeps from running.

    Args:
        state: everything.
        claim: to a device.
        rival: tells the claim that a victim's waiting work would make there, if it lacks bytes.
            Of two models that block one another the one goes whose work is worth less.
    """
    device = claim.placement.device
    gain = left = gain_of(state, claim)
    if gain <= 0:
        return False
    free = _free_after_runs(state, device)
    for place in state.warm_on[device]:
        if place.residency in PRESENT:
            left -= _displaced(state, claim, place, free)
            if left <= 0:
                return False
    for victim in claim.victims:
        other = rival(victim)
        if other is not None and gain_of(state, other) > gain:
            return False
    return True


def _busy(state: State, device: int) -> bool:
    return any(place.runs for place in state.warm_on[device])


def _free_after_runs(state: State, device: int) -> int:
    """Return the bytes that will be free when all runs have ended and who leaves has left."""
    ledger = state.ledgers[device]
    free = ledger.free_bytes
    for other in state.warm_on[device]:
        free += ledger.reserved_by(other.model.name)
        if other.residency in LEAVING:
            free += ledger.weights_of(other.model.name)
    return free


def _displaced(state: State, claim: Claim, place: Placement, free: int) -> float:
    """Return the weight per second that would go on at the placement if nobody claimed the device.

    What doesn't find its bytes even when all runs have ended doesn't go on: of two models that
    block one another, one must go.
    """
    best = 0.0
    for lane in state.lanes_by_model[place.model.name]:
        if (lane.waiting or lane.unclaimed) and lane is not claim.lane:
            rate = piece_of(state, lane).rate
            if rate > best and state.need(lane) <= free and claim.forbids(state, lane, place):
                best = rate
    return best


def load_order(state: State, lanes: list[Lane]) -> list[Lane]:
    """Order lanes that lack their model, or bytes, by which should get them first.

    Each is compared with each other: who goes first makes the other one wait for its load, and
    for all its work too where the two don't fit on a device together.
    """
    if len(lanes) < 2:  # noqa: PLR2004  nothing to order
        return lanes
    work = {name: _work_of(state, name) for name in {lane.model.name for lane in lanes}}
    facts = [_Facts.of(state, lane, *work[lane.model.name]) for lane in lanes]
    largest = max([ledger.usable_bytes for ledger in state.ledgers.values()])
    gains = [0.0] * len(lanes)
    for (one, own), (two, other) in combinations(enumerate(facts), 2):
        if own.n_bytes + other.n_bytes <= largest:
            gain = own.weight * other.load_s - other.weight * own.load_s
        else:
            gain = own.weight * other.whole_s - other.weight * own.whole_s
        gains[one] += gain
        gains[two] -= gain
    order = sorted(range(len(lanes)), key=gains.__getitem__, reverse=True)
    return [lanes[at] for at in order]


class _Facts(NamedTuple):
    """What the order of loads depends on, of one model."""

    weight: float
    load_s: float
    """What others wait who fit beside it, if it goes first."""
    whole_s: float
    """What others wait who don't: for its work too."""
    n_bytes: int

    @classmethod
    def of(cls, state: State, lane: Lane, weight: float, work_s: float) -> "_Facts":
        model = lane.model.name
        need = state.estimates.weights(model) + state.need(lane)
        load_s = 0.0 if state.present(model) else state.quickest_load_s(model)
        whole_s = load_s + (work_s + state.durations.unload_s(model))
        return cls(weight, load_s, whole_s, need)


def _work_of(state: State, model: str) -> tuple[float, float]:
    """Return the weight of a model's waiting work, and the seconds that it takes."""
    weight = work_s = 0.0
    for piece in pieces_of(state, model):
        weight += piece.weight
        work_s += piece.seconds
    return weight, work_s
