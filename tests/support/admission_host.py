"""Admissions with a real pool, fake engines and a fake clock: everything happens when told to."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from virtual_gpu import device, request

from daemon.admission import GpuAdmissions
from daemon.engines.pool import EnginePool
from daemon.scheduling.models import GIB, ModelSpec
from daemon.scheduling.residency import Residency
from daemon.scheduling.scheduler import Scheduler
from daemon.values import EngineLostError, Loaded, RunOutput


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


class FakeEngine:
    """Loads and runs when it is told to."""

    def __init__(self, spec: ModelSpec, on: int, load_error: Exception | None) -> None:
        self.spec, self.on = spec, on
        self.load_error = load_error
        self.may_load = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_stop = asyncio.Event()
        self.may_stop.set()
        self.stops = 0
        self.stop_error: Exception | None = None
        self.cancelled: list[str] = []
        self.weights_bytes = spec.weights_bytes
        self._over = asyncio.Event()
        self._reason = "stopped"

    async def load(self) -> Loaded:
        await self.may_load.wait()
        if self.load_error is not None:
            raise self.load_error
        return Loaded(self.weights_bytes, 0.5)

    async def run(
        self, run_id: str, handler: str, params: Mapping[str, Any], progress: Any
    ) -> RunOutput:
        ending = asyncio.create_task(self.may_end.wait())
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait({ending, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
            over.cancel()
        if self._over.is_set():
            raise EngineLostError(self._reason)
        return RunOutput({"run": run_id}, [], 7 * GIB, {})

    def cancel(self, run_id: str) -> None:
        self.cancelled.append(run_id)

    def die(self, reason: str) -> None:
        self._reason = reason
        self._over.set()

    async def stop(self, grace_s: float = 5.0) -> None:
        self.stops += 1
        if self.stop_error is not None:
            error, self.stop_error = self.stop_error, None
            raise error
        await self.may_stop.wait()
        self._over.set()

    async def ended(self) -> str:
        await self._over.wait()
        return self._reason


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
        self.engines.append(FakeEngine(self.specs[name], on, error))
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


async def settled() -> None:
    """Let everything that is ready happen."""
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def host(*models: ModelSpec, **pool_options: Any) -> AsyncIterator[Host]:
    each = Host(*models, **pool_options)
    async with each.pool:
        yield each
