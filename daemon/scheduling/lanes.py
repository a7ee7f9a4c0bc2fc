"""Lanes: the waiting requests of one model, one quality and one urgency, in fair order."""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass

from daemon.scheduling.models import ModelSpec, QualitySpec
from daemon.scheduling.reasons import WaitClock
from daemon.values import NO_WAIT, AdmissionRequest, Waits

_SLACK = 32
"""Withdrawn entries that a heap may carry beyond its living ones."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A request that waits. Withdrawn ones stay in the heap until they surface."""

    request: AdmissionRequest
    lane: "Lane"
    submitted_s: float
    tag: float = 0.0
    gone: bool = False
    before: Waits = NO_WAIT
    """What the lane's clock showed when this one joined it."""
    needed: int = 0
    needed_at: int = -1
    """The bytes of its run, as they were in that version of what is expected."""

    def waits(self, now: float) -> Waits:
        """Return the seconds that it has waited so far, by reason."""
        return self.lane.clock.at(now).since(self.before)


def urgency(priority: int) -> float:
    """Return by how much a request of this priority weighs more: ten times at 100, less below 0."""
    return math.pow(10.0, max(-100, min(100, priority)) / 100)


class Piece:
    """Waiting work: its weight, the seconds to serve it, and the weight served per second.

    Args:
        weight: of all of it.
        seconds: to serve it.
        filled: the share of the slots that it fills.
    """

    __slots__ = ("eagerness", "rate", "seconds", "weight")

    def __init__(self, weight: float, seconds: float, filled: float = 1.0) -> None:
        self.weight = weight
        self.seconds = seconds
        self.rate = weight / seconds
        self.eagerness = self.rate * min(1.0, filled) ** 2
        """The rate, less where slots stay empty: more may come, and take no longer together."""


class Lane:
    """One queue. Leaving it from any place costs O(1), being first O(log n), amortised."""

    __slots__ = (
        "_heap",
        "_number",
        "_piece",
        "_prioritised",
        "clock",
        "eagerness",
        "exclusive",
        "goes_first",
        "interactive",
        "key",
        "lacking",
        "model",
        "needed",
        "needed_at",
        "quality",
        "rate",
        "running",
        "since_s",
        "unclaimed",
        "waiting",
        "weight",
    )  # fmt: skip

    def __init__(
        self,
        model: ModelSpec,
        quality: QualitySpec,
        *,
        interactive: bool,
        exclusive: bool = False,
    ) -> None:
        self.model = model
        self.quality = quality
        self.interactive = interactive
        self.exclusive = exclusive
        """Its requests need a device for themselves."""
        self.key = (model.name, quality.name)
        self.weight = quality.weight
        """What a second of one request's waiting costs."""
        self.waiting = 0
        self.unclaimed = 0
        """Jobs of the class that still are in the table, as it was last counted."""
        self.running = 0
        self.lacking = False
        """Whether it lacked its model, or its bytes, when it was last looked at: a note of the
        policy's, made anew in each decision."""
        self.needed = 0
        self.needed_at = -1
        """The bytes of its next run, as they were at that change of the state."""
        self.goes_first = False
        """Whether it has the first right to a device: such a note too."""
        self.rate = 0.0
        """The weight per second that its work comes to: such a note too."""
        self.eagerness = 0.0
        """How it ranks among the classes of its model, see `Piece`: such a note too."""
        self.since_s = 0.0
        """Since when requests wait and none runs: the later of first waiting and last end."""
        self._piece = (-1, 0.0, 0.0, Piece(0.0, 1.0))
        self.clock = WaitClock()
        self._heap: list[tuple[int, float, float, int, Waiting]] = []
        self._number = 0
        self._prioritised = 0
        """How many that wait have a priority: mostly none, and nobody need look."""

    def add(self, request: AdmissionRequest, now: float, tag: float = 0.0) -> Waiting:
        """Append a request in the order of priority, fair tag, age, arrival."""
        if not self.waiting and not self.running:
            self.since_s = now
        waiting = Waiting(request, self, now, tag, before=self.clock.at(now))
        self._number += 1
        entry = (-request.priority, tag, request.created_s, self._number, waiting)
        heapq.heappush(self._heap, entry)
        self.waiting += 1
        self._prioritised += request.priority != 0
        return waiting

    def head(self) -> Waiting:
        """Return the request that is next; the lane must not be empty."""
        while self._heap[0][-1].gone:
            heapq.heappop(self._heap)
        return self._heap[0][-1]

    def first(self, count: int = 100) -> list[Waiting]:
        """Return those who are next, in order."""
        return [entry[-1] for entry in heapq.nsmallest(count, self._heap) if not entry[-1].gone]

    def remove(self, waiting: Waiting) -> None:
        """Take a request out: it starts, is refused or was withdrawn."""
        waiting.gone = True
        self.waiting -= 1
        self._prioritised -= waiting.request.priority != 0
        if len(self._heap) > 2 * self.waiting + _SLACK:
            self._heap = [entry for entry in self._heap if not entry[-1].gone]
            heapq.heapify(self._heap)

    @property
    def backlog(self) -> int:
        """How many wait here or in the table."""
        return self.waiting + self.unclaimed

    def piece(self, run_s: float) -> "Piece":
        """Return the waiting work, here and in the table, when a run takes so many seconds.

        The last slots may stay empty. All of it weighs as its first request does.
        """
        count, kept = self.waiting + self.unclaimed, self._piece
        weight = self.weight
        if self._prioritised:
            weight *= urgency(self.head().request.priority)
        if kept[0] == count and kept[1] == run_s and kept[2] == weight:
            return kept[3]
        rounds = -(-count // self.quality.concurrency)
        filled = count / self.quality.concurrency
        piece = Piece(count * weight, max(1e-3, rounds * run_s), filled)
        self._piece = (count, run_s, weight, piece)
        return piece

    def run_started(self) -> None:
        """Count a run of this lane."""
        self.running += 1

    def run_ended(self, now: float) -> None:
        """Uncount a run; with the last one the time of being passed over begins."""
        self.running -= 1
        if not self.running:
            self.since_s = now

    def __iter__(self) -> Iterator[Waiting]:
        return (entry[-1] for entry in self._heap if not entry[-1].gone)
