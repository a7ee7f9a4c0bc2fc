"""When the sweep's timer fires. Time and chance are given."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from daemon.wakeups.sweep import SweepTimer


def timer_of(
    *,
    ready: bool,
    random: float = 0.5,
    clock: Callable[[], float] = lambda: 0.0,
    interval_s: float = 15,
    blind_interval_s: float = 2,
) -> SweepTimer:
    return SweepTimer(
        interval_s, blind_interval_s, any_proven=lambda: ready, clock=clock, random=lambda: random
    )


@asynccontextmanager
async def running(timer: SweepTimer, wake: asyncio.Event) -> AsyncIterator[None]:
    life = asyncio.create_task(timer.run(wake))
    try:
        yield
        assert not life.done()
    finally:
        life.cancel()
        await asyncio.wait({life})
    assert life.cancelled()


async def fired(timer: SweepTimer, wake: asyncio.Event) -> None:
    async with asyncio.timeout(5):
        await timer.sweep_due.wait()
        await wake.wait()
    timer.sweep_due.clear()
    wake.clear()


@pytest.mark.parametrize(("ready", "expected"), [(True, 15), (False, 2)])
async def test_the_interval_is_short_while_no_source_is_ready(ready: bool, expected: float) -> None:
    """Without a source, sweeping is all there is."""
    assert timer_of(ready=ready).due_in(None) == expected


@pytest.mark.parametrize(("random", "expected"), [(0.0, 10.5), (0.5, 15), (0.9999, 19.5)])
async def test_intervals_differ_by_thirty_per_cent(random: float, expected: float) -> None:
    """A fleet that starts as one doesn't sweep as one."""
    timer, wake = timer_of(ready=True, random=random), asyncio.Event()
    async with running(timer, wake):
        await fired(timer, wake)
        assert timer.due_in(None) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("next_due_s", "expected"), [(4.0, 4.0), (60.0, 15), (None, 15)])
async def test_what_falls_due_sooner_is_swept_sooner(
    next_due_s: float | None, expected: float
) -> None:
    """A lease that expires, or a delayed job, isn't left lying until the interval ends."""
    assert timer_of(ready=True).due_in(next_due_s) == expected


async def test_fires_at_start() -> None:
    """What was queued while no worker ran is found at once."""
    timer, wake = timer_of(ready=True), asyncio.Event()
    async with running(timer, wake):
        await fired(timer, wake)


async def test_fires_again_and_again() -> None:
    """The timer doesn't depend on the intake's answer."""
    wake = asyncio.Event()
    timer = timer_of(ready=True, clock=asyncio.get_running_loop().time, interval_s=0.02)
    async with running(timer, wake):
        for _ in range(3):
            await fired(timer, wake)


async def test_a_noted_moment_shortens_the_wait_that_is_under_way() -> None:
    """The intake's report comes while the timer waits already."""
    clock = asyncio.get_running_loop().time
    wake = asyncio.Event()
    timer = timer_of(ready=True, clock=clock, interval_s=900, blind_interval_s=900)
    async with running(timer, wake):
        await fired(timer, wake)
        timer.note_next_due(0.0)
        begun = clock()
        await fired(timer, wake)
        # "Due now" again and again is no reason to spin.
        assert clock() - begun >= 0.2


async def test_losing_the_last_source_makes_the_sweep_due_sooner() -> None:
    """A source that is lost in the middle of a long interval doesn't leave the table unseen."""
    ready = True
    timer = SweepTimer(
        900,
        0.02,
        any_proven=lambda: ready,
        clock=asyncio.get_running_loop().time,
        random=lambda: 0.5,
    )
    wake = asyncio.Event()
    async with running(timer, wake):
        await fired(timer, wake)
        ready = False
        await fired(timer, wake)


async def test_nothing_in_sight_takes_an_earlier_report_back() -> None:
    """The last report counts."""
    timer = timer_of(ready=True)
    timer.note_next_due(1.0)
    timer.note_next_due(None)
    assert timer._left() == 15
