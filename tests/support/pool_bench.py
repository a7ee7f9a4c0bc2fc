"""A pool of fake engines that writes down what it reports."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fake_engine import GIB, FakeEngine, settled

from daemon.engines.pool import EnginePool
from daemon.values import Loaded, Offloaded

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

    def load_lost(self, *report: Any) -> None:
        self.reports.append(("load_lost", *report))

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
