"""The pool: moves of weights, engines that die or can't be stopped, and the end."""

import asyncio

import pytest
from fake_engine import GIB, FakeEngine, settled
from pool_bench import WEIGHTS, Bench, SlowMemory, bench

from daemon.engines import pool as pool_module
from daemon.engines.pool import EnginePool
from daemon.values import EngineEnd, EngineLostError, Loss


async def test_a_dead_engine_is_lost_at_once_and_unloaded_when_it_is_gone() -> None:
    """Its runs needn't wait for the reaping, its bytes must."""
    async with bench() as each:
        engine = await each.loaded()
        run = asyncio.create_task(engine.run("a", "video", {}, None))
        await settled()
        engine.may_stop.clear()
        engine.die("signal 9")
        with pytest.raises(EngineLostError, match="signal 9"):
            await run
        await settled()
        lost = ("engine_lost", "video", 0, EngineEnd(Loss.KILLED, "signal 9"))
        assert each.reports == [lost]

        engine.may_stop.set()
        await settled()

        assert each.reports == [lost, ("unload_done", "video", 0)]
        assert await each.loaded() is not engine


async def test_memory_is_waited_for_after_the_process_is_gone() -> None:
    """A device may give bytes back later than the process ends: how much was told before."""
    memory = SlowMemory()
    async with bench(memory_back=memory) as each:
        engine = await each.loaded()
        each.pool.unload("video", 0)
        await settled()
        assert engine.stops == 1
        assert each.reports == []

        memory.back.set()
        await settled()

        assert each.reports == [("unload_done", "video", 0)]
        assert memory.asked == [
            ("used", "video", 0),
            ("wait", "video", 0, 20 * GIB, WEIGHTS),
        ]


async def test_what_a_dead_engine_held_was_not_measured_before() -> None:
    """What the device uses after the death says nothing of what it used before."""
    memory = SlowMemory()
    memory.back.set()
    async with bench(memory_back=memory) as each:
        (await each.loaded()).die("signal 9")
        await settled()

    assert memory.asked == [("wait", "video", 0, None, WEIGHTS)]


async def test_a_death_that_crosses_an_unload_is_no_loss() -> None:
    """It was to end anyway."""
    async with bench() as each:
        engine = await each.loaded()
        each.pool.unload("video", 0)
        engine.die("signal 9")
        await settled()

        assert each.reports == [("unload_done", "video", 0)]


async def test_an_engine_that_can_not_be_stopped_is_stopped_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its bytes stay held until it is gone."""
    monkeypatch.setattr(pool_module, "RETRY_STOP_S", 0.0)
    async with bench() as each:
        engine = await each.loaded()
        engine.stop_error = OSError("no such group")
        engine.die("signal 9")
        await settled()

        assert engine.stops == 2
        assert each.reports[-1] == ("unload_done", "video", 0)


async def test_an_unexpected_error_costs_one_engine_not_the_pool() -> None:
    """Whatever a start or a move raises."""
    async with bench() as each:
        each.load_errors = [RuntimeError("boom")]
        each.pool.load("video", 0)
        await settled()
        each.engines[0].may_load.set()
        await settled()
        assert each.reports.pop()[0] == "load_failed"

        engine = await each.loaded()
        engine.offload_error = RuntimeError("boom")
        engine.may_offload.set()
        each.pool.offload("video", 0)
        await settled()

        assert [report[0] for report in each.reports] == ["engine_lost", "unload_done"]


async def test_leaving_the_pool_stops_every_engine() -> None:
    """Those on a device, those on the host and those that load; nothing begins any more."""
    async with bench() as each:
        await each.offloaded()
        await each.loaded("chat")
        each.pool.load("sdxl", 0)
        await settled()

    assert [engine.stops for engine in each.engines] == [1, 1, 1]
    each.pool.load("wan", 0)
    each.pool.offload("chat", 0)
    each.pool.unload("chat", 0)
    assert len(each.engines) == 3


async def test_an_impatient_end_kills() -> None:
    """Who cancels the stopping gets a stop without grace, and no engine survives."""
    each = Bench()
    stopping = asyncio.Event()

    async def live() -> None:
        async with each.pool:
            (await each.loaded()).may_stop.clear()
            stopping.set()

    living = asyncio.create_task(live())
    await stopping.wait()
    await settled()
    assert each.engines[0].stops == 1
    living.cancel()
    await settled()
    assert each.engines[0].stops == 2
    each.engines[0].may_stop.set()
    await asyncio.wait({living})


async def test_a_pool_without_listener_says_so() -> None:
    """Forgetting to wire it is found at the first load."""
    pool = EnginePool(lambda name, on: FakeEngine(WEIGHTS, on))

    async def live() -> None:
        async with pool:
            pool.load("chat", 0)
            pool.engine("chat", 0).may_load.set()
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as errors:
        await live()

    assert errors.group_contains(RuntimeError, match="report_to")
