"""Claims: a lane's first right to a device, and the choice of who makes room."""

from collections.abc import Container, Sequence
from typing import NamedTuple

from daemon.scheduling.lanes import Lane
from daemon.scheduling.residency import LEAVING, PRESENT, Placement, Residency
from daemon.scheduling.state import State
from daemon.scheduling.victims import cheapest, weights


class Claim(NamedTuple):
    """What a lane needs on one device before later lanes get anything that stands in its way.

    Attributes:
        lane: whose right it is.
        placement: its model on the device.
        victims: placements that drain and go.
        spare_bytes: what others may still take; negative while runs must end first.
    """

    lane: Lane
    placement: Placement
    victims: tuple[Placement, ...]
    spare_bytes: int

    def forbids(self, state: State, lane: Lane, placement: Placement) -> bool:
        """Whether a run of another lane on this device would stand in the claim's way.

        0. The claim is to the whole device.
        1. The same model, the same quality: the next slot is the claim's.
        2. The same model, another quality: unless slots and budget are left for the claim.
        3. A victim drains.
        4. Another model: only within the spare bytes.
        """
        if self.lane.exclusive:  # 0
            return True
        need = state.need(lane)
        if placement is self.placement:
            if lane.quality is self.lane.quality:  # 1
                return True
            claimed = state.need(self.lane)
            left = state.ledgers[placement.device].budget_room_of(placement.model.name)
            last = placement.runs + 1 >= placement.model.max_concurrent
            return last or left - need < claimed or need > self.spare_bytes  # 2
        return placement in self.victims or (need > 0 and need > self.spare_bytes)  # 3, 4


STALE_S = 5.0
"""Seconds for which a choice of victims is kept while nothing changes on its device: what it
depends on beside that, remaining runs and fading arrivals, changes slowly."""


class _Found(NamedTuple):
    """A claim that was worked out, and in which state of its device."""

    claim: Claim | None
    version: int
    shape: int
    until_s: float


class ClaimBook:
    """Works claims out, each once as long as nothing changes on its device.

    A rough one may be out of date by what runs have begun and ended: good enough to see that it
    isn't worth anything. Of those that are only old, one is worked out anew each time that anybody
    asks: devices on which nothing happens would all be old at the same moment.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[Lane, int], _Found] = {}
        self._chosen: dict[Lane, int] = {}
        """The device of each lane's last claim, where there was a choice."""
        self.exact = True
        """Whether nothing in the last answer was out of date."""
        self._renewed = False
        """Whether one that was old has been worked out anew for it."""

    def best(
        self,
        state: State,
        lane: Lane,
        claims: Container[int],
        now: float,
        *,
        copy: bool = False,
        rough: bool = False,
    ) -> Claim | None:
        """Return the lane's claim on the device where it is served soonest; None: nowhere now.

        1. Devices that earlier lanes claimed are out.
        2. Where the model is present already, only those devices; for a copy, only the others.
        3. Otherwise every device that is large enough, unless loads of the model are in back-off;
           also where the model is present only on devices that are too small for the run.
        """
        model = lane.model.name
        present: list[Placement] = []
        absent: list[Placement] = []
        for place in state.placements_of[model]:
            if place.device not in claims:  # 1
                (present if place.residency in PRESENT else absent).append(place)
        self.exact, self._renewed = True, False
        for choice in ([] if copy else present, absent):  # 2
            found = self._among(state, lane, choice, now, rough=rough)
            if found:
                return self._cheapest(lane, found) if len(found) > 1 else found[0]
            if state.back_offs[model].active(now):  # 3
                return None
        return None

    def _among(
        self, state: State, lane: Lane, places: Sequence[Placement], now: float, *, rough: bool
    ) -> list[Claim]:
        """Return the lane's claims on the devices of these placements, where there is one."""
        found: list[Claim] = []
        for place in places:
            kept, version = self._found.get((lane, place.device)), state.versions[place.device]
            if kept is not None and kept.version == version and now <= kept.until_s:
                claim = kept.claim
            else:
                claim = self._on(state, lane, place, now, rough=rough)
            if claim is not None:
                found.append(claim)
        return found

    def _cheapest(self, lane: Lane, found: Sequence[Claim]) -> Claim:
        """Choose a device: fewest runs to wait for, fewest evictions, the last one, most bytes.

        Bytes alone are no reason to change. With whatever loads where others leave, two claims
        would change places, have it evicted, and change back, until what they wait for is there.
        """
        last = self._chosen.get(lane)
        best, least = found[0], None
        for claim in found:
            runs = sum([victim.runs for victim in claim.victims])
            moves = claim.placement.device != last
            cost = runs, len(claim.victims), moves, -claim.spare_bytes
            if least is None or cost < least:
                best, least = claim, cost
        self._chosen[lane] = best.placement.device
        return best

    def _on(
        self, state: State, lane: Lane, place: Placement, now: float, *, rough: bool
    ) -> Claim | None:
        device = place.device
        kept = self._found.get((lane, device))
        if kept is not None:
            if now <= kept.until_s or self._renewed:
                if kept.version == state.versions[device]:
                    return kept.claim
                if rough and kept.shape == state.shapes[device]:
                    self.exact = False
                    return kept.claim
            else:
                self._renewed = True
        claim = _claim_on(state, lane, place, now)
        version, shape = state.versions[device], state.shapes[device]
        self._found[lane, device] = _Found(claim, version, shape, now + STALE_S)
        return claim


def _claim_on(state: State, lane: Lane, place: Placement, now: float) -> Claim | None:
    """Work out who must go on one device.

    Reservations of those who stay are no reason to evict them: they end by themselves and then
    find no spare bytes. What is leaving counts as gone.
    """
    if lane.exclusive:
        return _claim_whole(state, lane, place)
    model, ledger = lane.model.name, state.ledgers[place.device]
    of = ledger.weights_of
    everybody = state.warm_on[place.device]
    here = [each for each in everybody if each.residency in PRESENT]
    spare = ledger.usable_bytes - ledger.outside_bytes
    spare -= sum([of(each.model.name) for each in everybody if each.residency not in LEAVING])
    if place not in here:
        # What an engine in the host's memory keeps on the device is part of its weights there.
        kept = weights(state, place) if place.residency is Residency.HOST else 0
        spare -= max(0, state.estimates.weights(model) - kept)
    victims = cheapest(state, lane, place, state.need(lane) - spare, now)
    if victims is None:
        return None
    spare += sum([of(victim.model.name) for victim in victims])
    for each in here:
        if each is not place and each not in victims:
            spare -= ledger.reserved_by(each.model.name)
    spare -= _reserved_with(state, lane, place)
    return Claim(lane, place, tuple(victims), spare)


def _claim_whole(state: State, lane: Lane, place: Placement) -> Claim | None:
    """Return the claim of a run that needs the device for itself: everybody else goes.

    None where it wouldn't find its bytes even then, as long as others use so many: it would keep
    everybody off the device for nothing.
    """
    held, ledger = weights(state, place), state.ledgers[place.device]
    if place.residency not in PRESENT:
        held = max(held, state.estimates.weights(lane.model.name))
    if held + state.need(lane) > ledger.usable_bytes - ledger.outside_bytes:
        return None
    victims = tuple(
        each
        for each in state.warm_on[place.device]
        if each is not place and each.residency is not Residency.EVICTING
    )
    return Claim(lane, place, victims, 0)


def _reserved_with(state: State, lane: Lane, place: Placement) -> int:
    """Return what the lane's model will have reserved on the device once the claim is served.

    1. What it has reserved, and the run.
    2. No slot is free: a run ends first and leaves its bytes.
    3. The budget is full: runs end until it isn't.
    """
    ledger = state.ledgers[place.device]
    activation = state.need(lane)
    if place.residency not in PRESENT:
        return activation
    held = ledger.reserved_by(lane.model.name)
    reserved = held + activation  # 1
    if state.slots(place, lane) <= 0:  # 2
        reserved -= min(activation, held)
    return min(reserved, held + ledger.budget_room_of(lane.model.name))  # 3
