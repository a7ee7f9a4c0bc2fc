"""Rates over a sliding window, as the server's limits count them. Pure; the clock is given."""

import time
from collections import deque
from collections.abc import Callable


class Rate:
    """Counts events of the last seconds.

    Args:
        limit: Events a second, on the average of the window; None: no limit.
        window_s: The window.
        now: The clock.
    """

    def __init__(
        self, limit: float | None, window_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._window_s = window_s
        self._now = now
        self._events: deque[tuple[float, int]] = deque()
        self._count = 0

    def add(self, count: int = 1) -> None:
        """Count events of now."""
        if self._limit is None:
            return
        self._events.append((self._now(), count))
        self._count += count

    @property
    def exceeded(self) -> bool:
        """Whether the average is above the limit."""
        if self._limit is None:
            return False
        while self._events and self._events[0][0] <= self._now() - self._window_s:
            self._count -= self._events.popleft()[1]
        return self._count / self._window_s > self._limit
