"""The scheduler's deadlines become timers, and timers decisions."""

import asyncio

from admission_host import host, settled
from virtual_gpu import SDXL, VIDEO, model, request

from daemon.scheduling.residency import Residency


async def test_an_idle_model_goes_after_the_timer() -> None:
    """The scheduler's deadline becomes a timer, and the timer an unload."""
    first, second = (
        model("first", 16, 12, 1, fast=(16, 1)),
        model("second", 16, 12, 1, fast=(16, 1)),
    )
    async with host(first, second) as gpu:
        run = asyncio.create_task(gpu.one_run("a", "first"))
        await settled()
        (await gpu.loaded()).may_end.set()
        await run
        other = asyncio.create_task(gpu.one_run("b", "second"))
        await settled()
        assert gpu.residency("first") is Residency.RESIDENT
        gpu.clock.advance(1.0)
        await settled()
        assert gpu.engines[0].stops == 1
        assert gpu.residency("first") is Residency.COLD
        (await gpu.loaded(1)).may_end.set()

        assert (await other).fields == {"run": "b"}


async def test_a_timer_that_comes_early_counts_as_in_time() -> None:
    """Event loops call up to a clock tick early; nothing may be missed by that."""
    async with host(VIDEO, SDXL) as gpu:
        blocked = asyncio.create_task(gpu.one_run("a", "video"))
        await settled()
        await gpu.loaded()
        waiting = asyncio.create_task(
            gpu.admissions.admit(request("s", "sdxl", "high")).__aenter__()
        )
        await settled()
        (timer,) = [each for each in gpu.clock.timers if not each.cancelled]
        gpu.clock.now = timer.when - 1e-4
        timer.callback()

        assert gpu.residency("sdxl") is Residency.LOADING
        for each in (blocked, waiting):
            each.cancel()
        await settled()


async def test_only_the_nearest_timer_is_armed() -> None:
    """A nearer deadline replaces the timer; a later one is found when the timer comes."""
    async with host(VIDEO, SDXL) as gpu:
        runs = [asyncio.create_task(gpu.one_run("a", "video"))]
        await settled()
        engine = await gpu.loaded()
        runs.append(asyncio.create_task(gpu.one_run("s", "sdxl")))
        await settled()
        assert [each.when for each in gpu.clock.timers if not each.cancelled] == [60]
        gpu.clock.now = 20
        engine.may_end.set()
        await runs[0]
        await settled()

        assert [each.cancelled for each in gpu.clock.timers].count(False) <= 1
        runs[1].cancel()
        await settled()
