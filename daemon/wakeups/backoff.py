"""Delays between connections: full jitter, so that a fleet doesn't return as one. Pure."""

from collections.abc import Callable


class Backoff:
    """Draws the delay before the next connection.

    Args:
        random: draws from [0, 1).
        first_s: upper end of the first delay, seconds; it doubles with each try.
        cap_s: upper end of every delay, seconds.
        healthy_s: a connection that was ready for this long starts the count anew. A shorter one
            doesn't: a server that accepts and drops would else be called without a pause.
    """

    def __init__(
        self,
        random: Callable[[], float],
        *,
        first_s: float = 1.0,
        cap_s: float = 15.0,
        healthy_s: float = 30.0,
    ) -> None:
        self._random = random
        self._first_s = first_s
        self._cap_s = cap_s
        self._healthy_s = healthy_s
        self._ceiling_s = first_s

    def delay_after(self, ready_s: float) -> float:
        """Return the seconds to wait after a connection that was ready for `ready_s` seconds."""
        if ready_s >= self._healthy_s:
            self._ceiling_s = self._first_s
        delay = self._random() * self._ceiling_s
        self._ceiling_s = min(self._cap_s, self._ceiling_s * 2)
        return delay
