"""Engines that leak: what one holds between its runs must not grow from run to run. Pure."""

from collections import deque
from itertools import pairwise

WARM_UP_RUNS = 3
"""First runs fill caches that stay: kernels, workspaces, compiled graphs."""

ALLOWED_BYTES = 256 * 2**20
ALLOWED_SHARE = 0.10
"""Growth beyond the larger of the two is a leak. Below lies what allocators keep for later."""

GROWING_RUNS = 3
"""So many runs in a row must each have left more behind: one large picture's cache is no leak."""

WEIGH_AFTER_RUNS = 32
"""An engine that is never idle is drained, to see what it holds, after so many runs for each that
it takes at once."""


class LeakWatch:
    """What one engine held after each of its runs, bytes."""

    def __init__(self) -> None:
        self._runs = 0
        self._baseline = 0
        self._last: deque[int] = deque(maxlen=GROWING_RUNS + 1)

    def observe(self, held_bytes: int, runs: int = 1) -> bool:
        """Take what the engine holds with no run in it, after so many; return whether it leaks."""
        self._runs += runs
        self._last.append(held_bytes)
        if self._runs <= WARM_UP_RUNS or len(self._last) == 1:
            self._baseline = max(self._baseline, held_bytes)
            return False
        allowed = max(ALLOWED_BYTES, int(ALLOWED_SHARE * self._baseline))
        values = list(self._last)
        growing = all(before < after for before, after in pairwise(values))
        return growing and len(values) > GROWING_RUNS and held_bytes > self._baseline + allowed
