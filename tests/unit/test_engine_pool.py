"""The pool: moves of weights, engines that die or can't be stopped, and the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fake_engine import GIB, FakeEngine, settled

from daemon.engines import pool as pool_module
from daemon.engines.pool import EnginePool
from daemon.jobs import ErrorCode, JobError
from daemon.values import EngineEnd, EngineLostError, Loaded, Loss, Offloaded

WEIGHTS = 12 * GIB
LOADED = Loaded(WEIGHTS, 0.5)
OFFLOADED = Offloaded(GIB // 2, WEIGHTS, 0.25)


class Bench:
    """A pool whose engines do as they are told, and what it reports, in order."""

    def __init__(self, **options: Any) -> None:
        self.engines: list[FakeEngine] = []
        self.load_errors: list[Exception | None] = []
        self.reports: list[tuple[Any, ...]] = []
        self.pool = EnginePool(self.make, **options)
        self.pool.report_to(self)

    def make(self, model: str, device: int) -> FakeEngine:
        error = self.load_errors.pop(0) if self.load_errors else None
        self.engines.append(FakeEngine(WEIGHTS, device, error))
        return self.engines[-1]

    async def loaded(self, model: str = "video") -> FakeEngine:
        self.pool.load(model, 0)
        await settled()
        self.engines[-1].may_load.set()
        await settled()
        assert self.reports.pop() == ("load_done", model, 0, LOADED)
        return self.engines[-1]

    async def offloaded(self) -> FakeEngine:
        engine = await self.loaded()
        self.pool.offload("video", 0)
        await settled()
        engine.may_offload.set()
        await settled()
        assert self.reports.pop() == ("offload_done", "video", 0, OFFLOADED)
        return engine

    def load_done(self, *report: Any) -> None:
        self.reports.append(("load_done", *report))

    def load_failed(self, *report: Any) -> None:
        self.reports.append(("load_failed", *report))

    def offload_done(self, *report: Any) -> None:
        self.reports.append(("offload_done", *report))

    def engine_lost(self, *report: Any) -> None:
        self.reports.append(("engine_lost", *report))

    def unload_done(self, *report: Any) -> None:
        self.reports.append(("unload_done", *report))


@asynccontextmanager
async def bench(**options: Any) -> AsyncIterator[Bench]:
    each = Bench(**options)
    async with each.pool:
        yield each


class SlowMemory:
    """Gives memory back when it is told to, and notes what it was asked."""

    def __init__(self) -> None:
        self.back = asyncio.Event()
        self.asked: list[tuple[Any, ...]] = []

    async def used(self, model: str, device: int) -> int | None:
        self.asked.append(("used", model, device))
        return 20 * GIB

    async def wait(self, *asked: Any) -> None:
        self.asked.append(("wait", *asked))
        await self.back.wait()


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
async def test_a_death_on_the_way_back_is_a_failed_load(before: bool) -> None:
    """And nothing else, also when the order crosses the death."""
    async with bench() as each:
        engine = await each.offloaded()
        if before:
            engine.die("segfault")
        each.pool.load("video", 0)
        if not before:
            await settled()
            engine.die("segfault")
        await settled()

        (report,) = each.reports
        assert report[:3] == ("load_failed", "video", 0)
        assert report[3].error_code is ErrorCode.MODEL_LOAD_FAILED
        assert "segfault" in report[3].message


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
