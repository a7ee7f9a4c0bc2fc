"""How late the event loop is, as its sampler sees it."""

import asyncio

import pytest

from daemon.telemetry.loop_lag import INTERVAL_S, LoopLag


class Clock:
    """Sleeps that take as long as a test says."""

    def __init__(self, *late_s: float) -> None:
        self.now = 100.0
        self.late_s = list(late_s)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if not self.late_s:
            raise asyncio.CancelledError
        self.now += seconds + self.late_s.pop(0)


async def test_each_look_tells_how_late_it_came() -> None:
    """Lateness alone is told, the interval isn't; a call that came too early was on time."""
    clock, seen = Clock(0.0, 1.5, -0.0005), list[float]()

    with pytest.raises(asyncio.CancelledError):
        await LoopLag(seen.append, clock=clock, sleep=clock.sleep).run()

    assert seen == pytest.approx([0.0, 1.5, 0.0])
    assert clock.now == pytest.approx(100 + 3 * INTERVAL_S + 1.4995)
