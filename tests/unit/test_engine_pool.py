"""The pool: engines that die, can't be stopped, or are in the way of the end."""

import asyncio

import pytest
from admission_host import FakeEngine, Host, host, settled
from virtual_gpu import CHAT, SDXL, VIDEO

from daemon.engines import pool as pool_module
from daemon.engines.pool import EnginePool
from daemon.scheduling.models import GIB
from daemon.scheduling.residency import Residency
from daemon.values import EngineLostError


async def test_bytes_of_a_dead_engine_return_when_it_is_gone() -> None:
    """Its runs learn at once that it is lost; the memory is used again only after the reaping."""
    async with host(VIDEO) as gpu:
        run = asyncio.create_task(gpu.one_run("a", "video"))
        await settled()
        engine = await gpu.loaded()
        engine.may_stop.clear()
        engine.die("signal 9")
        with pytest.raises(EngineLostError, match="signal 9"):
            await run
        await settled()
        held = gpu.scheduler.state.ledgers[0]
        assert gpu.residency("video") is Residency.EVICTING
        assert held.free_bytes == 7 * GIB
        engine.may_stop.set()
        await settled()

        assert gpu.residency("video") is Residency.COLD
        assert held.free_bytes == 23 * GIB
        again = asyncio.create_task(gpu.one_run("b", "video"))
        await settled()
        (await gpu.loaded(1)).may_end.set()
        assert (await again).fields == {"run": "b"}


async def test_memory_is_waited_for_after_the_process_is_gone() -> None:
    """A device may give bytes back later than the process ends."""
    back = asyncio.Event()

    async def memory_back(_device: int) -> None:
        await back.wait()

    async with host(VIDEO, memory_back=memory_back) as gpu:
        run = asyncio.create_task(gpu.one_run("a", "video"))
        await settled()
        engine = await gpu.loaded()
        engine.die("signal 9")
        with pytest.raises(EngineLostError):
            await run
        await settled()
        assert gpu.residency("video") is Residency.EVICTING
        back.set()
        await settled()

        assert gpu.residency("video") is Residency.COLD


async def test_an_engine_that_can_not_be_stopped_is_stopped_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its bytes stay held until it is gone."""
    monkeypatch.setattr(pool_module, "RETRY_STOP_S", 0.0)
    async with host(VIDEO) as gpu:
        run = asyncio.create_task(gpu.one_run("a", "video"))
        await settled()
        engine = await gpu.loaded()
        engine.stop_error = OSError("no such group")
        engine.die("signal 9")
        with pytest.raises(EngineLostError):
            await run
        await settled()

        assert engine.stops == 2
        assert gpu.residency("video") is Residency.COLD


async def test_leaving_the_pool_stops_every_engine() -> None:
    """Resident ones and those that load; nothing is loaded any more."""
    async with host(CHAT, SDXL) as gpu:
        runs = [asyncio.create_task(gpu.one_run("a", "chat"))]
        await settled()
        (await gpu.loaded()).may_end.set()
        await runs[0]
        runs.append(asyncio.create_task(gpu.one_run("b", "sdxl")))
        await settled()
        assert gpu.residency("sdxl") is Residency.LOADING

    assert [engine.stops for engine in gpu.engines] == [1, 1]
    gpu.pool.load("video", 0)
    gpu.pool.unload("chat", 0)
    assert len(gpu.engines) == 2
    runs[1].cancel()
    await settled()


async def test_an_impatient_end_kills() -> None:
    """Who cancels the stopping gets a stop without grace, and no engine survives."""
    gpu = Host(CHAT)
    stopping = asyncio.Event()

    async def live() -> None:
        async with gpu.pool:
            waiting = asyncio.create_task(gpu.one_run("a", "chat"))
            await settled()
            (await gpu.loaded()).may_end.set()
            await waiting
            gpu.engines[0].may_stop.clear()
            stopping.set()

    living = asyncio.create_task(live())
    await stopping.wait()
    await settled()
    assert gpu.engines[0].stops == 1
    living.cancel()
    await settled()
    assert gpu.engines[0].stops == 2
    gpu.engines[0].may_stop.set()
    await asyncio.wait({living})


async def test_a_pool_without_listener_says_so() -> None:
    """Forgetting to wire it is found at the first load."""
    pool = EnginePool(lambda name, on: FakeEngine(CHAT, on, None))

    async def live() -> None:
        async with pool:
            pool.load("chat", 0)
            pool.engine("chat", 0).may_load.set()
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as errors:
        await live()

    assert errors.group_contains(RuntimeError, match="report_to")
