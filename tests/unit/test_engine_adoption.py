"""Engines that outlive a pool, and the admissions that take them over."""

import asyncio

from admission_host import host
from fake_engine import settled
from pool_bench import LOADED, bench
from virtual_gpu import CHAT, VIDEO, request

from daemon.engine_ports import KeptEngine
from daemon.values import EngineEnd, Loss


async def test_an_engine_that_was_handed_over_outlives_its_pool() -> None:
    """The others are stopped; with the next pool it is as if it had been loaded there."""
    async with bench() as first:
        kept_engine = await first.loaded("video")
        other = await first.loaded("chat")
        [kept] = first.pool.hand_over([("video", 0)])
    assert kept == KeptEngine("video", 0, kept_engine, LOADED)
    assert (kept_engine.stops, other.stops) == (0, 1)

    async with bench() as second:
        second.pool.adopt(kept)
        await settled()
        assert second.reports == []
        assert second.pool.engine("video", 0) is kept_engine
        second.pool.unload("video", 0)
        await settled()
        assert second.reports == [("unload_done", "video", 0)]
    assert kept_engine.stops == 1


async def test_an_adopted_engine_is_stopped_with_its_pool() -> None:
    """It belongs to the new pool as any other."""
    async with bench() as first:
        engine = await first.loaded("video")
        [kept] = first.pool.hand_over([("video", 0)])
    async with bench() as second:
        second.pool.adopt(kept)
        await settled()
    assert engine.stops == 1


async def test_one_that_died_between_two_pools_is_reported() -> None:
    """Nobody watched it; the first look finds it."""
    async with bench() as first:
        engine = await first.loaded("video")
        [kept] = first.pool.hand_over([("video", 0)])
    engine.die("signal 9")
    async with bench() as second:
        second.pool.adopt(kept)
        await settled()
        assert second.reports == [
            ("engine_lost", "video", 0, EngineEnd(Loss.KILLED, "signal 9")),
            ("unload_done", "video", 0),
        ]


async def test_only_engines_that_hold_their_model_on_the_device_are_handed_over() -> None:
    """Not one that loads, that waits in the host's memory, that goes, or that is dead."""
    async with bench() as each:
        each.pool.load("chat", 0)
        await settled()
        assert each.pool.hand_over([("chat", 0), ("wan", 0)]) == []
    async with bench() as each:
        await each.offloaded()
        assert each.pool.hand_over([("video", 0)]) == []
    async with bench() as each:
        engine = await each.loaded("video")
        engine.may_stop.clear()
        each.pool.unload("video", 0)
        await settled()
        assert each.pool.hand_over([("video", 0)]) == []
        engine.may_stop.set()
    async with bench() as each:
        engine = await each.loaded("video")
        engine.die("signal 9")
        await settled()
        assert each.pool.hand_over([("video", 0)]) == []


async def test_admissions_know_what_is_idle() -> None:
    """Resident and without a run; `busy` says whether anybody runs or waits."""
    async with host(CHAT, VIDEO) as gpu:
        assert (gpu.admissions.busy, gpu.admissions.idle()) == (False, [])

        async def talk() -> None:
            async with gpu.admissions.admit(request("a", "chat")) as engine:
                await engine.run("a", "handler", {}, lambda step: None)

        run = asyncio.create_task(talk())
        await settled()
        engine = await gpu.loaded()
        await settled()
        assert (gpu.admissions.busy, gpu.admissions.idle()) == (True, [])
        engine.may_end.set()
        await run
        assert (gpu.admissions.busy, gpu.admissions.idle()) == (False, [("chat", 0)])
