"""The sweep's timer: the table is looked at now and then, whatever the sources say.

The timer says when; the intake sweeps. It fires at start, then after a jittered interval that is
shorter while no source is proven alive, and no later than the moment at which the last sweep saw
something fall due.
"""

import asyncio
import random as randomness
import time
from collections.abc import Callable
from contextlib import suppress

from daemon.ports import WakeUp

_SPREAD = 0.3
"""Intervals differ by up to this share, so that a fleet doesn't sweep as one."""
_LEAST_S = 0.25
"""A sweep is bounded: one that leaves work over says "due now", which must not become a spin."""


class SweepTimer:
    """Sets `sweep_due`, and the wake flag, whenever a sweep is due. The intake clears it.

    Args:
        interval_s: longest time between two sweeps while a source is proven, seconds, +-30 %.
        blind_interval_s: the same while none is.
        any_proven: whether any source is proven alive.
        clock: seconds, monotonic.
        random: draws from [0, 1).
    """

    def __init__(
        self,
        interval_s: float,
        blind_interval_s: float,
        *,
        any_proven: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self.sweep_due = asyncio.Event()
        self._interval_s = interval_s
        self._blind_interval_s = blind_interval_s
        self._any_proven = any_proven
        self._clock = clock
        self._random = random
        self._spread = 1.0
        self._fired_at = clock()
        self._due_at: float | None = None
        self._noted = asyncio.Event()

    def set_intervals(self, interval_s: float, blind_interval_s: float) -> None:
        """Take other intervals, from now on."""
        self._interval_s, self._blind_interval_s = interval_s, blind_interval_s
        self._noted.set()

    def due_in(self, next_due_s: float | None) -> float:
        """Return the seconds between a sweep and the next, given what the sweep saw coming."""
        interval = self._interval_s if self._any_proven() else self._blind_interval_s
        interval *= self._spread
        return interval if next_due_s is None else min(interval, next_due_s)

    def note_next_due(self, seconds: float | None) -> None:
        """Take what the last sweep reported: something falls due in `seconds`; None: nothing."""
        self._due_at = None if seconds is None else self._clock() + max(_LEAST_S, seconds)
        self._noted.set()

    async def run(self, wake: WakeUp) -> None:
        """Fire at start and whenever a sweep is due, for ever."""
        while True:
            self._spread = 1 + _SPREAD * (2 * self._random() - 1)
            self._fired_at = self._clock()
            self._due_at = None
            self.sweep_due.set()
            wake.set()
            await self._until_due()

    async def _until_due(self) -> None:
        while (left_s := self._left()) > 0:
            self._noted.clear()
            # In short waits: a source that is lost meanwhile makes the sweep due sooner.
            wait_s = min(left_s, self._blind_interval_s)
            # Not wait_for: until Python 3.12 it can swallow a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._noted.wait()

    def _left(self) -> float:
        next_due_s = None if self._due_at is None else self._due_at - self._fired_at
        return self._fired_at + self.due_in(next_due_s) - self._clock()
