"""A slow source's hints beside a faster one: not every one of them is worth a query.

The same row is announced by every source, within milliseconds by one and half a second later by
another. While a faster source is proven, a slow source's hint only asks that the table be looked at
within a moment; any look that is made meanwhile does for it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from daemon.ports import WakeUp
from daemon.wakeups.proof import ProofOfLife, ProvableSource

SPEED = ("listen", "broadcast", "realtime")
"""The sources, fastest first: 1 ms, 4 ms and 290 ms were measured on a real server."""
WITHIN_S = 0.5
"""What a hint that the faster source has lost may cost."""


class PatientWake:
    """The wake-up flag as a slow source gets it.

    Args:
        wake: the flag.
        faster: whether a faster source is proven now.
        looked_at: when the last look began, by `clock`.
        within_s: a look is made at the latest after so many seconds.
    """

    def __init__(
        self,
        wake: WakeUp,
        *,
        faster: Callable[[], bool],
        looked_at: Callable[[], float],
        within_s: float = WITHIN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wake = wake
        self._faster = faster
        self._looked_at = looked_at
        self._within_s = within_s
        self._clock = clock
        self._hinted_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def set(self) -> None:
        """Say that work may exist."""
        if not self._faster():
            self._wake.set()
            return
        self._hinted_at = self._clock()
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._within_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._looked_at() <= self._hinted_at:
            self._wake.set()


def wake_for(
    source: ProvableSource,
    sources: Sequence[ProvableSource],
    proof: ProofOfLife,
    wake: WakeUp,
    looked_at: Callable[[], float],
) -> WakeUp:
    """Return the flag for a source: as it is for the fastest, a patient one for the others."""
    faster = [each for each in sources if SPEED.index(each.name) < SPEED.index(source.name)]
    if not faster:
        return wake
    return PatientWake(
        wake, faster=lambda: any(proof.proven(each) for each in faster), looked_at=looked_at
    )
