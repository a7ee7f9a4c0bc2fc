"""Restraint: many workers hear of every job, and one gets it. Pure; time and chance are given.

Each hint wakes the whole fleet. A worker that has looked in vain several times in a row pauses for
a random moment before it looks again: in a burst, the looks in vain are what costs the database. A
success, or a second without a look in vain, ends it.
"""

import random as randomness
from collections.abc import Callable

_PATIENCE = 3
"""Looks in vain that cost nothing yet: one source may tell of a row twice."""
_FIRST_S = 0.004
_CAP_S = 0.05
"""What restraint may cost a job that everybody else has no room for."""
_FORGOTTEN_S = 1.0


class Restraint:
    """Counts looks in vain.

    Args:
        random: draws from [0, 1).
    """

    def __init__(self, random: Callable[[], float] = randomness.random) -> None:
        self._random = random
        self._in_vain = 0
        self._last_at = 0.0

    def looked(self, found: int, now: float) -> None:
        """Take how many jobs a claim has found, and when."""
        if now - self._last_at > _FORGOTTEN_S:
            self._in_vain = 0
        self._in_vain = 0 if found else self._in_vain + 1
        self._last_at = now

    def pause_s(self, now: float) -> float:
        """Return the seconds to wait before the next look."""
        over = self._in_vain - _PATIENCE
        if over < 0 or now - self._last_at > _FORGOTTEN_S:
            return 0.0
        return self._random() * min(_CAP_S, _FIRST_S * 2.0 ** min(over, 10))
