"""Admissions with a real pool, fake engines and a fake clock: everything happens when told to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fake_engine import FakeEngine, settled
from virtual_gpu import device, request

from daemon.admission import GpuAdmissions
from daemon.engines.pool import EnginePool
from daemon.scheduling.models import ModelSpec
from daemon.scheduling.residency import Residency
from daemon.scheduling.scheduler import Scheduler
from daemon.values import RunOutput


@dataclass
class FakeTimer:
    when: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class FakeClock:
    now: float = 0.0
    timers: list[FakeTimer] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeTimer:
        self.timers.append(FakeTimer(when, callback))
        return self.timers[-1]

    def call_soon(self, callback: Callable[[], None]) -> object:
        return asyncio.get_running_loop().call_soon(callback)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [each for each in self.timers if each.when <= self.now and not each.cancelled]
        self.timers = [each for each in self.timers if each not in due]
        for timer in due:
            timer.callback()


class Host:
    """Admissions with a fake clock and fake engines."""

    def __init__(self, *models: ModelSpec, **pool_options: Any) -> None:
        self.specs = {spec.name: spec for spec in models}
        self.engines: list[FakeEngine] = []
        self.load_errors: list[Exception | None] = []
        self.clock = FakeClock()
        self.scheduler = Scheduler(models, [device(24)], max_pass_over_s=60)
        self.pool = EnginePool(self.make, **pool_options)
        self.admissions = GpuAdmissions(self.scheduler, self.pool, self.clock)
        self.changes = 0
        self.admissions.demand_changed = self._changed

    def make(self, name: str, on: int) -> FakeEngine:
        error = self.load_errors.pop(0) if self.load_errors else None
        self.engines.append(FakeEngine(self.specs[name].weights_bytes, on, error))
        return self.engines[-1]

    def _changed(self) -> None:
        self.changes += 1

    def residency(self, name: str) -> Residency:
        return self.scheduler.state.placements[name, 0].residency

    async def loaded(self, number: int = 0) -> FakeEngine:
        self.engines[number].may_load.set()
        await settled()
        return self.engines[number]

    async def one_run(self, name: str, model_name: str) -> RunOutput:
        async with self.admissions.admit(request(name, model_name)) as engine:
            return await engine.run(name, "handler", {}, lambda _: None)


@asynccontextmanager
async def host(*models: ModelSpec, **pool_options: Any) -> AsyncIterator[Host]:
    each = Host(*models, **pool_options)
    async with each.pool:
        yield each
