"""How much too late the event loop is: seen by a call that looks at the clock when its turn comes.

A loop that stands still for longer than the interval is late once, by what was left of the
standstill when the call was due: the longest delays are seen whole, short ones by chance.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

INTERVAL_S = 0.25
"""Four looks a second cost about 0.1 ms of processor time."""


class LoopLag:
    """The service that looks: run it for as long as the daemon lives.

    Args:
        lagged: takes the seconds of each look.
        clock: monotonic seconds.
        sleep: waits for the next look.
    """

    def __init__(
        self,
        lagged: Callable[[float], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._lagged = lagged
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            due = self._clock() + INTERVAL_S
            await self._sleep(INTERVAL_S)
            # The loop calls up to a clock's resolution too early.
            self._lagged(max(0.0, self._clock() - due))
