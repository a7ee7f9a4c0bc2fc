"""Answers that are given again to whoever repeats a request. Pure, and bounded.

begin  ->  NEW        it is under way now: `end` it
           UNDER_WAY  the first one hasn't ended
           OTHER      the key was used for another request
           Kept       what the first one was answered
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

KEPT_S = 24 * 3600.0
"""How long an answer can be asked for again."""

MAX_KEPT = 1000
"""Answers at once; of more, the oldest go."""

MAX_BYTES = 64 * 2**20
"""Of all kept answers' bodies together; the oldest go."""

MAX_ANSWER = 8 * 2**20
"""Bytes of one body; a larger one isn't kept, and its request runs again when it is repeated."""

Name = tuple[str, str]
"""Whose key, and the key."""


class Standing(StrEnum):
    """How a request stands that there is no answer to give again for."""

    NEW = "new"
    UNDER_WAY = "under way"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it was given."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: Kept
    fingerprint: bytes
    until: float


class Replays:
    """The answers by name.

    Args:
        clock: monotonic seconds.
        max_kept: see `MAX_KEPT`.
        max_bytes: see `MAX_BYTES`.
        max_answer: see `MAX_ANSWER`.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        max_kept: int = MAX_KEPT,
        max_bytes: int = MAX_BYTES,
        max_answer: int = MAX_ANSWER,
    ) -> None:
        self._clock = clock
        self._max_kept = max_kept
        self._max_bytes = max_bytes
        self._max_answer = max_answer
        self._kept: OrderedDict[Name, _Entry] = OrderedDict()
        self._under_way: dict[Name, bytes] = {}
        self.bytes = 0
        """Of all kept bodies."""

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, name: Name, fingerprint: bytes) -> Kept | Standing:
        """Take a request: say whether to run it, or how it was answered."""
        self._forget_old()
        if name in self._under_way:
            same = self._under_way[name] == fingerprint
            return Standing.UNDER_WAY if same else Standing.OTHER
        entry = self._kept.get(name)
        if entry is None:
            self._under_way[name] = fingerprint
            return Standing.NEW
        return entry.answer if entry.fingerprint == fingerprint else Standing.OTHER

    def end(self, name: Name, answer: Kept | None) -> None:
        """Take how a new request was answered; None: a repeat shall run again."""
        fingerprint = self._under_way.pop(name)
        if answer is None or len(answer.body) > self._max_answer:
            return
        self._kept[name] = _Entry(answer, fingerprint, self._clock() + KEPT_S)
        self.bytes += len(answer.body)
        while len(self._kept) > self._max_kept or self.bytes > self._max_bytes:
            self._forget_oldest()

    def _forget_old(self) -> None:
        now = self._clock()
        while self._kept and next(iter(self._kept.values())).until <= now:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, entry = self._kept.popitem(last=False)
        self.bytes -= len(entry.answer.body)
