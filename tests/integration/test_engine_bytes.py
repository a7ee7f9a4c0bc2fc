"""Bytes of real engines under a real scheduler: nobody gets them before the driver shows them."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from daemon.admission import GpuAdmissions
from daemon.engines.memory_back import DriverMemory
from daemon.engines.pool import EnginePool
from daemon.engines.process import EngineProcess
from daemon.scheduling.leaks import WEIGH_AFTER_RUNS
from daemon.scheduling.models import GIB, DeviceSpec, ModelSpec, QualitySpec
from daemon.scheduling.scheduler import Scheduler
from daemon.values import AdmissionRequest, EngineLostError
from handlers.params import Limits, resolve

NewEngine = Callable[..., EngineProcess]

MIB = 2**20
SLOTS = 4
"""So many that they hardly ever end together by chance."""

RUNS = 4 * SLOTS * WEIGH_AFTER_RUNS + 20
"""What it holds is seen four times until a leak is certain."""


def model(name: str) -> ModelSpec:
    """Return a model of which the device holds one at a time, whatever its engine measures."""
    quality = QualitySpec("fast", 10 * GIB, 1, (f"{name}_fast",))
    return ModelSpec(name, 10 * GIB, 9 * GIB, 1, {"fast": quality}).including_runs()


class Driver:
    """Shows what the test wants, and gives memory back look by look, a tenth of a second each."""

    def __init__(self) -> None:
        self.shows_gib = 9
        self.then_gib: list[int] = []
        """What it shows at each of the next looks."""
        self._now_s = 0.0

    async def read(self, device: int) -> int | None:
        if self.then_gib:
            self.shows_gib = self.then_gib.pop(0)
        return self.shows_gib * GIB

    async def sleep(self, seconds: float) -> None:
        self._now_s += seconds
        await asyncio.sleep(0)

    def memory(self) -> DriverMemory:
        return DriverMemory(self.read, clock=lambda: self._now_s, sleep=self.sleep)


class Host:
    """Two models on one device that has room for one, in real engines."""

    def __init__(self, new_engine: NewEngine, driver: Driver, *models: ModelSpec) -> None:
        self._new_engine = new_engine
        self._driver = driver
        self.engines: list[EngineProcess] = []
        self.shown_gib: list[int] = []
        """What the driver showed when each of them was made."""
        self.pool = EnginePool(self._make, memory_back=driver.memory())
        devices = [DeviceSpec(0, 12 * GIB)]
        chosen = models or (model("sdxl"), model("wan"))
        scheduler = Scheduler(chosen, devices, max_pass_over_s=60)
        self.admissions = GpuAdmissions(scheduler, self.pool, asyncio.get_running_loop())

    def _make(self, name: str, device: int) -> EngineProcess:
        self.shown_gib.append(self._driver.shows_gib)
        self.engines.append(self._new_engine(name, max_concurrent=SLOTS))
        return self.engines[-1]

    async def run(self, request_id: str, name: str, **fake: object) -> None:
        """Run one job of a model."""
        wanted = {"prompt": "p", "fake": fake}
        limits = Limits(allow_fake=True)
        params = resolve("chat", "", "chat", "fast", wanted, limits=limits).params
        request = AdmissionRequest(request_id, name, "fast", None, 0.0)
        async with asyncio.timeout(60), self.admissions.admit(request) as engine:
            await engine.run(request_id, "chat", params, lambda _: None)


async def test_a_model_that_was_put_away_makes_room_when_its_bytes_are_free(
    new_engine: NewEngine,
) -> None:
    """Its process is gone long before; the next load begins when the driver shows it."""
    driver = Driver()
    host = Host(new_engine, driver)
    async with host.pool:
        await host.run("one", "sdxl")
        driver.then_gib = [9] * 50 + [0]
        await host.run("two", "wan")

        assert host.shown_gib == [9, 0]


@pytest.mark.parametrize("deed", ["poison", "kill"])
async def test_a_lost_engine_is_replaced_when_its_bytes_have_settled(
    new_engine: NewEngine, deed: str
) -> None:
    """Nobody could ask before it ended: it is waited until the figure falls no more."""
    driver = Driver()
    host = Host(new_engine, driver)
    async with host.pool:
        await host.run("one", "sdxl")
        driver.then_gib = [9] * 15 + [6] * 5 + [3] * 5 + [0]
        if deed == "poison":
            with pytest.raises(EngineLostError):
                await host.run("two", "sdxl", broken=True)
        else:
            assert host.engines[0].group is not None
            os.kill(host.engines[0].group, signal.SIGKILL)
            await host.engines[0].ended()
        await host.run("three", "sdxl")

        assert host.shown_gib == [9, 0]


async def test_a_leak_of_an_engine_with_more_work_than_slots_is_found(
    new_engine: NewEngine,
) -> None:
    """It is hardly ever idle of itself; who waits then gets its successor, and all runs end."""
    quality = QualitySpec("fast", 10 * GIB, SLOTS, ("sdxl_fast",))
    busy = ModelSpec("sdxl", 12 * GIB, 4 * GIB, SLOTS, {"fast": quality})
    driver = Driver()
    driver.shows_gib = 0
    host = Host(new_engine, driver, busy)
    async with host.pool, asyncio.TaskGroup() as runs:
        for number in range(RUNS):
            # Of different lengths, or they would end together.
            step_s = 0.02 + 0.001 * (number % 13)
            runs.create_task(host.run(f"{number}", "sdxl", steps=1, step_s=step_s, leak=MIB))

    assert len(host.engines) > 1
