"""A token bucket: how many requests a minute, with a minute's worth at once. Pure."""

_MINUTE_S = 60.0

_ROUNDING = 1e-9
"""What sums of floats may lack of a whole token: who waits as long as he was told, gets one."""


class Bucket:
    """Holds up to `per_minute` tokens, is full at first, and fills evenly.

    Args:
        per_minute: tokens that flow in; at least 1.
        now: seconds, of a clock that never goes back.
    """

    def __init__(self, per_minute: float, now: float) -> None:
        self.capacity = per_minute
        self._tokens = per_minute
        self._filled = now

    def take(self, now: float) -> float:
        """Take a token and return 0, or return the seconds until there is one."""
        self._fill(now)
        if self._tokens >= 1 - _ROUNDING:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) * _MINUTE_S / self.capacity

    def left(self) -> int:
        """Return how many whole tokens there were after the last one was taken."""
        return max(0, int(self._tokens + _ROUNDING))

    def full_in(self) -> float:
        """Return the seconds from the last taking until it is full, if none is taken."""
        return max(0.0, self.capacity - self._tokens) * _MINUTE_S / self.capacity

    def _fill(self, now: float) -> None:
        passed = max(0.0, now - self._filled)
        self._tokens = min(self.capacity, self._tokens + passed * self.capacity / _MINUTE_S)
        self._filled = max(self._filled, now)
