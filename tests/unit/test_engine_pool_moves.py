"""Moves to the host's memory and back, as the pool carries them out and reports them."""

import pytest
from fake_engine import GIB, settled
from pool_bench import LOADED, OFFLOADED, SlowMemory, bench

from daemon.jobs import ErrorCode, JobError
from daemon.values import EngineEnd, Loss


async def test_an_offloaded_engine_lives_on_and_takes_its_model_back() -> None:
    """There and back in the same engine, as often as wanted; then it can be unloaded."""
    async with bench() as each:
        engine = await each.offloaded()

        for _ in range(2):
            each.pool.load("video", 0)
            await settled()
            engine.may_load.set()
            await settled()
            each.pool.offload("video", 0)
            await settled()
            engine.may_offload.set()
            await settled()
        each.pool.unload("video", 0)
        await settled()

        back = ("load_done", "video", 0, LOADED)
        away = ("offload_done", "video", 0, OFFLOADED)
        assert each.reports == [back, away, back, away, ("unload_done", "video", 0)]
        assert each.engines == [engine]


async def test_an_offloaded_engine_frees_only_what_it_has_left() -> None:
    """The rest was free before: waiting for it would take for ever."""
    memory = SlowMemory()
    memory.back.set()
    async with bench(memory_back=memory) as each:
        await each.offloaded()
        each.pool.unload("video", 0)
        await settled()

    assert memory.asked[-1] == ("wait", "video", 0, 20 * GIB, GIB // 2)


async def test_a_failed_offload_costs_the_engine() -> None:
    """It is told as lost, since nothing can be done with it, and its bytes come back."""
    async with bench() as each:
        engine = await each.loaded()
        engine.offload_error = JobError(ErrorCode.VRAM_OVERFLOW, "the host is full")
        engine.may_offload.set()

        each.pool.offload("video", 0)
        await settled()

        end = EngineEnd(Loss.STOPPED, "the video engine can't offload: the host is full")
        assert each.reports == [("engine_lost", "video", 0, end), ("unload_done", "video", 0)]
        assert engine.stops == 1


async def test_a_failed_way_back_is_a_failed_load() -> None:
    """Who waits for the model hears of it as of every load, when the engine is gone."""
    async with bench() as each:
        engine = await each.offloaded()
        engine.load_error = JobError(ErrorCode.VRAM_OVERFLOW, "the device is full")
        engine.may_load.set()

        each.pool.load("video", 0)
        await settled()

        assert each.reports == [("load_failed", "video", 0, engine.load_error)]
        assert engine.stops == 1


@pytest.mark.parametrize("where", ["on the device", "about to move", "moving away", "away"])
async def test_a_death_is_told_once_wherever_the_weights_are(where: str) -> None:
    """Also when the move and the watch both see it, and always how it came about."""
    async with bench() as each:
        engine = await (each.offloaded() if where == "away" else each.loaded())
        if where == "moving away":
            each.pool.offload("video", 0)
            await settled()

        engine.die("segfault", Loss.CRASHED)
        if where == "about to move":
            each.pool.offload("video", 0)
        await settled()

        end = EngineEnd(Loss.CRASHED, "segfault")
        assert each.reports == [("engine_lost", "video", 0, end), ("unload_done", "video", 0)]


@pytest.mark.parametrize("before", [False, True])
async def test_a_death_on_the_way_back_costs_a_load_from_disk(before: bool) -> None:
    """Also when the order crosses the death; the successor is watched as any engine is."""
    async with bench() as each:
        engine = await each.offloaded()
        if before:
            engine.die("segfault")
        each.pool.load("video", 0)
        if not before:
            await settled()
            engine.die("segfault")
        await settled()
        assert each.reports == [("load_lost", "video", 0, EngineEnd(Loss.KILLED, "segfault"))]
        each.engines[1].may_load.set()
        await settled()
        assert each.reports[1:] == [("load_done", "video", 0, LOADED)]

        each.engines[1].die("another segfault")
        await settled()

        end = EngineEnd(Loss.KILLED, "another segfault")
        assert each.reports[2:] == [("engine_lost", "video", 0, end), ("unload_done", "video", 0)]


async def test_a_death_in_a_load_costs_another_load() -> None:
    """Whatever killed the engine, it may not have been the model; the second one is its doing."""
    async with bench() as each:
        each.pool.load("video", 0)
        await settled()
        each.engines[0].die("killed")
        await settled()
        assert each.reports == [("load_lost", "video", 0, EngineEnd(Loss.KILLED, "killed"))]
        assert each.engines[0].stops == 1
        each.engines[1].die("killed again")
        await settled()

        report = each.reports[1]
        assert report[:3] == ("load_failed", "video", 0)
        assert report[3].error_code is ErrorCode.MODEL_LOAD_FAILED
        assert "killed again" in report[3].message
        assert len(each.engines) == 2
