"""A slow source's hints beside a faster one."""

import asyncio

from daemon.wakeups.patience import PatientWake


def patient(
    wake: asyncio.Event, *, faster: bool, looked_at: float = 0.0, now: float = 5.0
) -> PatientWake:
    return PatientWake(
        wake,
        faster=lambda: faster,
        looked_at=lambda: looked_at,
        within_s=0.001,
        clock=lambda: now,
    )


async def timer_fired() -> None:
    """Return after every timer of a millisecond has fired."""
    fired = asyncio.Event()
    asyncio.get_running_loop().call_later(0.005, fired.set)
    await fired.wait()


async def test_without_a_faster_source_a_hint_wakes_at_once() -> None:
    """It may be the only one."""
    wake = asyncio.Event()
    patient(wake, faster=False).set()
    assert wake.is_set()


async def test_beside_a_faster_one_it_wakes_within_a_moment() -> None:
    """The faster source may have lost this one."""
    wake = asyncio.Event()
    patient(wake, faster=True).set()
    assert not wake.is_set()
    async with asyncio.timeout(5):
        await wake.wait()


async def test_a_look_made_meanwhile_does_for_it() -> None:
    """No query but those that are needed anyway."""
    wake = asyncio.Event()
    patient(wake, faster=True, looked_at=6.0).set()
    await timer_fired()
    assert not wake.is_set()


async def test_a_look_from_before_does_not() -> None:
    """It can't have seen the row."""
    wake = asyncio.Event()
    patient(wake, faster=True, looked_at=4.0).set()
    await timer_fired()
    assert wake.is_set()
