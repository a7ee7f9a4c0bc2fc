"""Averages of events a second, as the server's limits take them. Pure; the clock is given.

The real server counts into buckets of five seconds and looks at the average of the last twelve only
when a bucket is full. So a burst passes whole, and what comes after it is refused until the burst
has left the last bucket.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from devstack.realtime.settings import RealtimeSettings

Clock = Callable[[], float]

_BUCKETS = 12


class Rate:
    """Counts events and says whether too many have come.

    Args:
        limit: Events a second on the average; None for no limit.
        window_s: What is averaged over, in twelve buckets.
        now: The clock, in seconds.
    """

    def __init__(self, limit: float | None, window_s: float, now: Clock = time.monotonic) -> None:
        self._limit = limit
        self._bucket_s = window_s / _BUCKETS
        self._now = now
        self._next = now() + self._bucket_s
        self._count = 0
        # The average of the first seconds is over those, not over the whole window.
        self._buckets = deque([0], _BUCKETS)

    def add(self, count: int = 1) -> None:
        """Count events of now."""
        if self._limit is not None:
            self._fill()
            self._count += count

    @property
    def exceeded(self) -> bool:
        """Whether the average was at the limit when the last bucket was full."""
        if self._limit is None:
            return False
        self._fill()
        return sum(self._buckets) / len(self._buckets) / self._bucket_s >= self._limit

    def _fill(self) -> None:
        """Close the buckets whose time is over."""
        late_s = self._now() - self._next
        if late_s < 0:
            return
        empty = int(late_s / self._bucket_s)
        self._next += (empty + 1) * self._bucket_s
        self._buckets.append(self._count)
        self._buckets.extend([0] * min(empty, _BUCKETS))
        self._count = 0


@dataclass(frozen=True)
class Limits:
    """The rates of one server, which all its clients share.

    Attributes:
        messages: Broadcasts, counted when one is sent and for each who gets it.
        changes: Of the database, counted for each binding that hears of one.
        joins: Of channels.
    """

    messages: Rate
    changes: Rate
    joins: Rate

    @classmethod
    def of(cls, settings: RealtimeSettings, now: Clock) -> "Limits":
        """Begin to count."""
        window_s = settings.rate_window_s
        return cls(
            Rate(settings.max_messages_per_second, window_s, now),
            Rate(settings.max_changes_per_second, window_s, now),
            Rate(settings.max_joins_per_second, window_s, now),
        )
