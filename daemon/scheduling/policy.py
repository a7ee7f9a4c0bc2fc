"""The policy: what is worth most per second goes first, and nobody waits for ever.

A policy is asked for one command at a time and changes nothing, so it may be asked as often as
anybody likes. `State` checks what it answers.

Who lacks a model or its bytes makes a *claim* on a device: later lanes start nothing there that
stands in its way; models that must go drain and are evicted, and the lane's model loads. A claim
is made

- by a lane that was *passed over* for the bound: requests wait in it and none of it runs;
- by an interactive lane at once;
- by any other whose work is worth more per second, the switch included, than what it keeps from
  running (`worth`).
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Protocol

from daemon.scheduling.claims import Claim, ClaimBook
from daemon.scheduling.commands import Command
from daemon.scheduling.judge import STANDS_S, Judge
from daemon.scheduling.lanes import Lane
from daemon.scheduling.openings import (
    bytes_with_run,
    is_behind,
    lacks_more_than_slots,
    load_into_room,
    pays_a_copy,
    start,
)
from daemon.scheduling.residency import Placement, Residency
from daemon.scheduling.room import pursue, room_by_device
from daemon.scheduling.state import State
from daemon.scheduling.worth import piece_of

LINGER_S = 0.2
"""A model that has just become idle stays this long although another waits: its next job is
usually being claimed at this moment."""


CLAIMS_STAND_S = 0.05
"""Claims are asked for after each decision, by demand and for accounts: nothing else has changed
by then than the time, which only makes somebody overdue a moment later."""

_since_s = attrgetter("since_s")


def _in_order(lanes: list[Lane]) -> list[Lane]:
    """Return lanes by their models' best rate, those of one model by how eager they are.

    That is by their rates too, but where others wait for the device: then full slots go first.
    """
    best: dict[str, float] = {}
    for lane in lanes:
        model = lane.model.name
        if lane.rate > best.get(model, 0.0):
            best[model] = lane.rate
    return sorted(lanes, key=lambda lane: (best[lane.model.name], lane.eagerness), reverse=True)


class Policy(Protocol):
    """Chooses the next command. Reads the state and changes nothing."""

    fair: bool
    """Whether a lane's requests are in fair order among users; else the oldest comes first."""

    def next_command(self, state: State, now: float) -> Command | None:
        """Return the next command to carry out at once, None when there is none."""
        ...

    def claims(self, state: State, now: float) -> Mapping[int, Claim]:
        """Return the claims on devices, which a run must not stand in the way of."""
        ...

    def next_deadline(self, state: State, now: float) -> float | None:
        """Return the next moment after `now` at which the answer may change by itself."""
        ...

    def fresh(self) -> "Policy":
        """Return one that decides alike and has worked nothing out yet."""
        ...


class IndexPolicy:
    """Serves what is worth most per second, within a bound on how long a lane is passed over.

    Args:
        max_pass_over_s: the bound.
        linger_s: how long an idle model is spared by who has no first right.
        preload: models that are loaded where there is room and nobody waits, the first one first.
    """

    fair = True

    def __init__(
        self, max_pass_over_s: float, linger_s: float = LINGER_S, preload: Sequence[str] = ()
    ) -> None:
        self.max_pass_over_s = max_pass_over_s
        self.linger_s = linger_s
        self.preload = tuple(preload)
        self._book = ClaimBook()
        self._judge = Judge(self._book)
        self._none_unused = -1, 0.0
        self._claimed: tuple[int, float, dict[int, Claim]] = (-1, 0.0, {})

    def fresh(self) -> "IndexPolicy":
        """Return one that has worked nothing out yet."""
        return IndexPolicy(self.max_pass_over_s, self.linger_s, self.preload)

    def next_command(self, state: State, now: float) -> Command | None:
        """Return the next command.

        For each lane with waiting requests, in order of right:

        1. A slot is free and no earlier lane's claim forbids it: start its next request.
        2. It has a claim: evict what is idle and must go, or load.

        Then for each of them that has no claim, in the same order:

        3. Load its model where there is room.

        Nobody lacks a model:

        4. Load what is to be there in any case.
        """
        lanes = self._by_right(state, now)
        claims: dict[int, Claim] = {}
        for lane in lanes:
            if not lane.lacking and (begin := start(state, lane, claims)) is not None:  # 1
                return begin
            if (claim := self._claim(state, lane, claims, now)) is not None:  # 2
                spared_s = 0.0 if lane.goes_first else self.linger_s
                if (step := pursue(state, claim, now, spared_s)) is not None:
                    return step
                claims[claim.placement.device] = claim
        self._claimed = state.changes, now, claims
        room = room_by_device(state, claims)
        claimants = {id(claim.lane) for claim in claims.values()}
        most = max(room.values(), default=-1)
        for lane in lanes:
            if bytes_with_run(state, lane) <= most and id(lane) not in claimants:  # 3
                load = load_into_room(state, lane, room, now)
                if load is not None:
                    return load
        if all(state.present(lane.model.name) for lane in lanes):  # 4
            return self._preload(state, room, now)
        return None

    def claims(self, state: State, now: float) -> dict[int, Claim]:
        """Return the claims by device, as `next_command` would make them."""
        changes, at_s, known = self._claimed
        if changes == state.changes and now <= at_s + CLAIMS_STAND_S:
            return known
        claims: dict[int, Claim] = {}
        for lane in self._by_right(state, now):
            if (claim := self._claim(state, lane, claims, now)) is not None:
                claims[claim.placement.device] = claim
        self._claimed = state.changes, now, claims
        return claims

    def next_deadline(self, state: State, now: float) -> float | None:
        """Return when a lane becomes overdue, an idle model evictable, or a back-off ends."""
        moments = [back_off.until_s for back_off in state.back_offs.values() if back_off.failures]
        if state.waiting:
            moments.extend(
                lane.since_s + self.max_pass_over_s
                for lane in state.lanes
                if lane.waiting and not lane.running
            )
            for placement in state.placements.values():
                if placement.residency is Residency.RESIDENT and not placement.runs:
                    moments.append(placement.idle_since_s + self.linger_s)
                    moments.append(placement.idle_since_s + self.max_pass_over_s)
        if state.waiting and not state.runs and (look_s := self._judge.next_look_s(now)):
            moments.append(look_s)  # with runs, their ends make us look again
        return min((moment for moment in moments if moment > now), default=None)

    def _by_right(self, state: State, now: float) -> list[Lane]:
        """Return the lanes with waiting requests, best right first.

        1. Overdue ones, longest passed over first.
        2. Interactive ones, and those that need a device for themselves, oldest first.
        3. Those that lack their model or its bytes, in the order in which loads are best.
        4. The others, by the weight that they serve per second: see `_in_order`.

        A lane keeps its place among the third while its model loads, or two would undo each
        other's loads for ever.
        """
        overdue: list[Lane] = []
        interactive: list[Lane] = []
        lacking: list[Lane] = []
        running: list[Lane] = []
        for lane in state.lanes:
            if not lane.waiting:
                continue
            lane.lacking = lacks_more_than_slots(state, lane)
            piece = piece_of(state, lane)
            lane.rate, lane.eagerness = piece.rate, piece.eagerness
            lane.goes_first = True
            if not lane.running and lane.since_s + self.max_pass_over_s <= now:
                overdue.append(lane)
            elif lane.interactive or lane.exclusive:
                interactive.append(lane)
            else:
                lane.goes_first = False
                (lacking if lane.lacking else running).append(lane)
        if not lacking:  # nobody waits for the time that empty slots would cost
            for lane in running:
                lane.eagerness = lane.rate
        overdue.sort(key=_since_s)
        interactive.sort(key=lambda lane: lane.head().request.created_s)
        if len(running) > 1:
            running = _in_order(running)
        return [*overdue, *interactive, *self._judge.load_order(state, lacking, now), *running]

    def _claim(
        self, state: State, lane: Lane, claims: Mapping[int, Claim], now: float
    ) -> Claim | None:
        """Return the lane's claim, None where it has no right to one.

        1. First right: wherever it is served soonest.
        2. Its model runs better work first: none.
        3. Only a slot is missing: a copy elsewhere, in place of what was idle for the whole bound.
        4. Otherwise if it is worth it.
        """
        if len(claims) == len(state.ledgers):
            return None
        if lane.goes_first:  # 1
            return self._book.best(state, lane, claims, now)
        if is_behind(state, lane):  # 2
            return None
        if not lane.lacking:  # 3
            return self._claim_for_copy(state, lane, claims, now)
        return self._judge.worthwhile(state, lane, claims, now)  # 4

    def _claim_for_copy(
        self, state: State, lane: Lane, claims: Mapping[int, Claim], now: float
    ) -> Claim | None:
        if len(state.ledgers) == 1 or not self._any_unused(state, now):
            return None
        if not pays_a_copy(state, lane):
            return None
        claim = self._book.best(state, lane, claims, now, copy=True)
        if claim is None or not claim.victims:
            return None
        unused = all(self._unused(state, victim, now) for victim in claim.victims)
        return claim if unused else None

    def _any_unused(self, state: State, now: float) -> bool:
        """Whether there is such a model at all: every lane asks, and mostly there is none."""
        shape, until_s = self._none_unused
        if shape == state.shape and now < until_s:
            return False
        for here in state.warm_on.values():
            for place in here:
                if not place.runs and self._unused(state, place, now):
                    return True
        self._none_unused = state.shape, now + STANDS_S
        return False

    def _unused(self, state: State, place: Placement, now: float) -> bool:
        """Whether a model that is there hasn't been asked for during the whole bound."""
        return (
            place.idle_since_s + self.max_pass_over_s <= now
            and place.residency is Residency.RESIDENT
            and not place.runs
            and not state.has_work(place.model.name)
        )

    def _preload(self, state: State, room: Mapping[int, int], now: float) -> Command | None:
        for model in self.preload:
            if model in state.models and not state.present(model):
                lane = state.lanes_by_model[model][0]
                if (load := load_into_room(state, lane, room, now)) is not None:
                    return load
        return None
