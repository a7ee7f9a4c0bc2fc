"""The first policy: interactive first, resident model first, oldest first, nobody for ever last.

A policy is asked for one command at a time and changes nothing, so it may be asked as often as
anybody likes. `State` checks what it answers.

A lane is *passed over* while requests wait in it and none of it runs. Whoever is passed over for
longer than the bound has the first right to a device, and an interactive lane has it at once over
batch work: the lane makes a *claim* there. Later lanes start nothing that stands in the claim's
way; models that must go drain, are evicted, and the lane's model loads.
"""

from dataclasses import replace
from typing import Protocol

from daemon.scheduling.claims import Claim, Courtesy, best_claim, eviction
from daemon.scheduling.commands import Command, LoadModel, StartRun, UnloadModel
from daemon.scheduling.lanes import Lane
from daemon.scheduling.prefetch import prefetch
from daemon.scheduling.residency import PRESENT, Placement, Residency
from daemon.scheduling.state import State
from daemon.scheduling.victims import bytes_needed, weights
from daemon.scheduling.worth import is_worth, load_order, piece_of

LINGER_S = 0.2
"""A model that has just become idle stays this long although another waits: its next job is
usually being claimed at this moment."""


class Policy(Protocol):
    """Chooses the next command. Reads the state and changes nothing."""

    def next_command(self, state: State, now: float) -> Command | None:
        """Return the next command to carry out at once, None when there is none."""
        ...

    def lets_start(self, state: State, lane: Lane, placement: Placement, now: float) -> bool:
        """Whether it would start another run of the lane there if a slot were free."""
        ...

    def next_deadline(self, state: State, now: float) -> float | None:
        """Return the next moment after `now` at which the answer may change by itself."""
        ...


class IndexPolicy:
    """Serves what is worth most per second, within a bound on how long anything waits. Seconds."""

    def __init__(
        self, max_pass_over_s: float, linger_s: float = LINGER_S, *, prefetches: bool = True
    ) -> None:
        self.max_pass_over_s = max_pass_over_s
        self.prefetches = prefetches
        self.linger_s = linger_s

    def next_command(self, state: State, now: float) -> Command | None:
        """Return the next command.

        For each lane with waiting requests, in order of right:

        1. A slot is free and no earlier lane's claim forbids it: start the oldest request.
        2. The lane has the first right, or is worth more than what it keeps from running: claim a
           device; evict what is idle there, or load.

        Then for each of them that has no claim, in the same order:

        3. Load its model, or evict idle ones for it, if nobody is kept waiting by that.
        """
        if not state.waiting:
            return self._prefetch(state, {}, set(), now)
        lanes = self._by_right(state, now)
        claims: dict[int, Claim] = {}
        for lane in lanes:
            if (start := _start(state, lane, claims)) is not None:  # 1
                return start
            if (claim := self._claim(state, lane, claims, now)) is not None:  # 2
                if (step := _pursue(state, claim)) is not None:
                    return step
                claims[claim.placement.device] = claim
        claimants = {id(claim.lane) for claim in claims.values()}
        for lane in lanes:
            if id(lane) not in claimants:  # 3
                step = self._make_room(state, lane, lanes, claims, now)
                if step is not None:
                    return step
        absent = {lane.model.name for lane in lanes if not state.present(lane.model.name)}
        return self._prefetch(state, claims, absent, now)

    def _prefetch(
        self, state: State, claims: dict[int, Claim], absent: set[str], now: float
    ) -> Command | None:
        """Load what will be asked for, where nobody waits for the device."""
        if absent or not self.prefetches:
            return None
        steps = (prefetch(state, device, now) for device in state.ledgers if device not in claims)
        return next((step for step in steps if step is not None), None)

    def _claim(
        self, state: State, lane: Lane, claims: dict[int, Claim], now: float
    ) -> Claim | None:
        """Return the lane's claim, None where it has no right to one."""
        if self._has_first_right(lane, now):
            return best_claim(state, lane, claims, now)
        if _is_behind(state, lane) or any(
            _lacks_only_slots(state, lane, each) for each in state.placements_of[lane.model.name]
        ):
            return None
        claim = best_claim(state, lane, claims, now)
        return claim if claim is not None and is_worth(state, claim) else None

    def lets_start(self, state: State, lane: Lane, placement: Placement, now: float) -> bool:
        """Whether no claim of a lane with the first right forbids it."""
        claims: dict[int, Claim] = {}
        for other in self._by_right(state, now):
            if other is lane:
                continue
            if (claim := self._claim(state, other, claims, now)) is not None:
                claims[claim.placement.device] = claim
        standing = claims.get(placement.device)
        return standing is None or not standing.forbids(state, lane, placement)

    def next_deadline(self, state: State, now: float) -> float | None:
        """Return when a lane becomes overdue, an idle model evictable, or a back-off ends."""
        moments = [back_off.until_s for back_off in state.back_offs.values() if back_off.failures]
        if state.waiting:
            moments.extend(
                lane.since_s + self.max_pass_over_s
                for lane in state.lanes.values()
                if lane.waiting and not lane.running
            )
            for placement in state.placements.values():
                if placement.residency is Residency.RESIDENT and not placement.runs:
                    moments.append(placement.idle_since_s + self.linger_s)
                    moments.append(placement.idle_since_s + self.max_pass_over_s)
        return min((moment for moment in moments if moment > now), default=None)

    def _overdue(self, lane: Lane, now: float) -> bool:
        return not lane.running and lane.since_s + self.max_pass_over_s <= now

    def _has_first_right(self, lane: Lane, now: float) -> bool:
        return lane.waiting > 0 and (lane.interactive or self._overdue(lane, now))

    def _by_right(self, state: State, now: float) -> list[Lane]:
        """Return the lanes with waiting requests, best right first.

        1. Overdue ones, longest passed over first.
        2. Interactive ones, oldest first.
        3. Those whose model isn't there, in the order in which loads are best.
        4. The others, by the weight that they serve per second.
        """
        lanes = [lane for lane in state.lanes.values() if lane.waiting]
        if len(lanes) < 2:
            return lanes
        overdue, interactive, absent, present = [], [], [], []
        for lane in lanes:
            if self._overdue(lane, now):
                overdue.append(lane)
            elif lane.interactive:
                interactive.append(lane)
            elif state.present(lane.model.name):
                present.append(lane)
            else:
                absent.append(lane)
        overdue.sort(key=lambda lane: lane.since_s)
        interactive.sort(key=lambda lane: lane.head().request.created_s)
        present.sort(key=lambda lane: -piece_of(state, lane).rate)
        return [*overdue, *interactive, *load_order(state, absent), *present]

    def _make_room(
        self, state: State, lane: Lane, wanted: list[Lane], claims: dict[int, Claim], now: float
    ) -> Command | None:
        """Make room for a lane without a claim, if nobody is kept waiting by that.

        3.1 Its model is being loaded, or in back-off: nothing.
        3.2 Its model is resident and only the device's memory for the run is missing: evict idle
            models there.
        3.3 A device has room for weights and run: load there, on the emptiest.
        3.4 A device would have room without its idle models: evict them. Where the lane's model
            runs elsewhere already, only those that were idle for the whole bound.
        """
        places = state.placements_of[lane.model.name]
        loading = any(place.residency is Residency.LOADING for place in places)
        if loading or state.back_offs[lane.model.name].active(now):  # 3.1
            return None
        keep = {other.model.name for other in wanted}
        courtesy = Courtesy(keep, 0.0 if lane.interactive else self.linger_s, now)
        return self._room_for_run(state, lane, claims, courtesy) or self._room_for_load(
            state, lane, claims, courtesy
        )

    def _room_for_run(
        self, state: State, lane: Lane, claims: dict[int, Claim], courtesy: Courtesy
    ) -> Command | None:
        need = state.estimates.activation(*lane.key)
        for place in state.placements_of[lane.model.name]:  # 3.2
            resident = place.residency is Residency.RESIDENT
            if (
                resident
                and place.device not in claims
                and _lacks_only_device_bytes(state, lane, place)
                and (step := eviction(state, place, need, courtesy)) is not None
            ):
                return step
        return None

    def _room_for_load(
        self, state: State, lane: Lane, claims: dict[int, Claim], courtesy: Courtesy
    ) -> Command | None:
        model = lane.model.name
        need = state.estimates.weights(model) + state.estimates.activation(*lane.key)
        cold = [
            place
            for place in state.placements_of[model]
            if place.residency is Residency.COLD and not _loading_on(state, place.device)
        ]
        roomy = [place for place in cold if _room(state, place.device, claims) >= need]
        if roomy:  # 3.3
            best = max(roomy, key=lambda place: state.ledgers[place.device].free_bytes)
            return LoadModel(model, best.device)
        if state.resident(model):  # 3.4
            courtesy = replace(courtesy, linger_s=self.max_pass_over_s)
        steps = (
            eviction(state, place, need, courtesy) for place in cold if place.device not in claims
        )
        return next((step for step in steps if step is not None), None)


def _start(state: State, lane: Lane, claims: dict[int, Claim]) -> StartRun | None:
    """Start the lane's oldest request on the least busy placement that may take it."""
    best: Placement | None = None
    for place in state.placements_of[lane.model.name]:
        claim = claims.get(place.device)
        if (
            state.may_start(place, lane.quality.name)
            and (best is None or place.runs < best.runs)
            and (claim is None or not claim.forbids(state, lane, place))
        ):
            best = place
    if best is None:
        return None
    return StartRun(lane.head().request.id, lane.model.name, best.device)


def _pursue(state: State, claim: Claim) -> Command | None:
    """Return what brings a claim nearer now: evict an idle victim, else load."""
    place = claim.placement
    idle = [victim for victim in claim.victims if not victim.runs]
    free = state.ledgers[place.device].free_bytes + sum(
        weights(state, each)
        for each in state.placements_on[place.device]
        if each in idle or each.residency is Residency.EVICTING
    )
    if free < bytes_needed(state, claim.lane, place):
        return None  # who is idle may be of use until others have ended
    for victim in idle:
        if victim.residency is Residency.RESIDENT:
            return UnloadModel(victim.model.name, victim.device)
    model = place.model.name
    if place.residency is not Residency.COLD or _loading_on(state, place.device):
        return None
    if state.ledgers[place.device].free_bytes < state.estimates.weights(model):
        return None
    return LoadModel(model, place.device)


def _loading_on(state: State, device: int) -> bool:
    """Whether the device is loading: nothing loads beside another load."""
    return any(place.residency is Residency.LOADING for place in state.placements_on[device])


def _room(state: State, device: int, claims: dict[int, Claim]) -> int:
    """Free bytes that no claim needs."""
    claim = claims.get(device)
    free = state.ledgers[device].free_bytes
    return free if claim is None else min(free, claim.spare_bytes)


def _is_behind(state: State, lane: Lane) -> bool:
    """Whether another lane of the same model is worth more: it runs first."""
    rate = piece_of(state, lane).rate
    return any(
        other.waiting and other is not lane and piece_of(state, other).rate > rate
        for other in state.lanes_by_model[lane.model.name]
    )


def _lacks_only_slots(state: State, lane: Lane, place: Placement) -> bool:
    """Whether the model is there, or comes, and nothing but a slot or budget is missing."""
    if place.residency not in PRESENT:
        return False
    return not _lacks_only_device_bytes(state, lane, place)


def _lacks_only_device_bytes(state: State, lane: Lane, place: Placement) -> bool:
    """Whether the lane would start on the placement if the device had more free bytes."""
    quality = lane.quality
    need = state.estimates.activation(*lane.key)
    return (
        place.runs < lane.model.max_concurrent
        and place.runs_by_quality.get(quality.name, 0) < quality.concurrency
        and state.ledgers[place.device].budget_room_of(lane.model.name) >= need
        and state.ledgers[place.device].free_bytes < need
    )
