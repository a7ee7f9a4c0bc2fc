"""Which claims are worth it: judged anew only when the answer may have changed. Pure.

Most lanes that lack their model aren't worth a switch, and are asked at every event. A "no" stands
until weights move somewhere, a class gets work or has none any more, the lane's own work has grown,
or `STANDS_S` have passed: what else changes, runs that end, changes the answer slowly.
"""

from collections.abc import Mapping
from operator import attrgetter
from typing import NamedTuple

from daemon.scheduling.claims import Claim, ClaimBook
from daemon.scheduling.lanes import Lane
from daemon.scheduling.residency import PRESENT, Placement
from daemon.scheduling.state import State
from daemon.scheduling.worth import is_worth, load_order

STANDS_S = 2.0
"""Seconds that an answer stands: little beside the load that it is about. In simulation 1 s and 2 s
cost the same."""

GROWTH = 1.1
"""Work that has grown by more is judged anew."""


_eagerness = attrgetter("eagerness")


class _No(NamedTuple):
    """An answer, and what it was given for."""

    shape: int
    claimed: tuple[int, ...]
    backlog: int
    until_s: float


class Judge:
    """Judges the lanes of one state."""

    def __init__(self, book: ClaimBook) -> None:
        self._book = book
        self._no: dict[Lane, _No] = {}
        self._order: tuple[float, list[Lane], list[Lane]] = (0.0, [], [])

    def worthwhile(
        self, state: State, lane: Lane, claims: Mapping[int, Claim], now: float
    ) -> Claim | None:
        """Return the lane's best claim on a device that no other lane claims, if it is worth it."""
        claimed = tuple(claims)
        backlog = state.backlog_of(lane.model.name)
        no = self._no.get(lane)
        if (
            no is not None
            and no.shape == state.shape
            and now < no.until_s
            and backlog <= no.backlog * GROWTH
            and no.claimed == claimed
        ):
            return None

        def rival(victim: Placement) -> Claim | None:
            return self._rival(state, victim, claims, now)

        judged: Claim | None = None
        for rough in (True, False):
            claim = self._book.best(state, lane, claims, now, rough=rough)
            exact = self._book.exact
            if claim is None or (claim is not judged and not is_worth(state, claim, rival)):
                self._no[lane] = _No(state.shape, claimed, backlog, now + STANDS_S)
                return None
            if exact:
                return claim
            judged = claim
        return judged

    def _rival(
        self, state: State, victim: Placement, claims: Mapping[int, Claim], now: float
    ) -> Claim | None:
        """Return the claim that a model's waiting work would make for bytes where it is, if any."""
        if victim.closed or victim.residency not in PRESENT:
            return None
        lanes = [lane for lane in state.lanes_by_model[victim.model.name] if lane.waiting]
        lane = max(lanes, key=_eagerness, default=None)
        if lane is None or not lane.lacking:
            return None
        claim = self._book.best(state, lane, claims, now, rough=True)
        return claim if claim is not None and claim.placement is victim else None

    def next_look_s(self, now: float) -> float | None:
        """Return when the first of the answers no longer stands."""
        moments = (no.until_s for lane, no in self._no.items() if lane.waiting)
        return min((moment for moment in moments if moment > now), default=None)

    def load_order(self, state: State, lacking: list[Lane], now: float) -> list[Lane]:
        """Order lanes that lack their model by `worth.load_order`; the same ones now and then."""
        until_s, before, ordered = self._order
        if now >= until_s or before != lacking:
            ordered = load_order(state, lacking)
            self._order = now + STANDS_S, lacking, ordered
        return ordered
