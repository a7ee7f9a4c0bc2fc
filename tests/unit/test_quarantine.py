"""Company in an engine: any number of jobs without a past, or one that lost an engine before."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from daemon.quarantine import Quarantine
from daemon.values import AdmissionRequest, Demand


class Admissions:
    """Grants everything at once, and wants everything."""

    def __init__(self) -> None:
        self.running: list[str] = []

    def demand(self) -> Sequence[Demand]:
        return [Demand(("chat", "enhance"), 8), Demand(("sdxl_image_fast",), 2)]

    @asynccontextmanager
    async def admit(self, request: AdmissionRequest, loads: Any = None) -> AsyncIterator[Any]:
        self.running.append(request.id)
        try:
            yield None
        finally:
            self.running.remove(request.id)


class Bench:
    def __init__(self) -> None:
        self.admissions = Admissions()
        self.quarantine = Quarantine(self.admissions)
        self._ends: dict[str, asyncio.Event] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}

    async def ask(self, name: str, model: str = "chat", *, alone: bool = False) -> None:
        self._ends[name] = asyncio.Event()
        request = AdmissionRequest(name, model, "fast", None, 0.0, alone=alone)
        self._lives[name] = asyncio.create_task(self._live(request))
        await settle()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await settle()

    async def cancel(self, name: str) -> None:
        self._lives[name].cancel()
        await settle()

    async def _live(self, request: AdmissionRequest) -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.quarantine.admit(request))
            await self._ends[request.id].wait()

    @property
    def running(self) -> list[str]:
        return self.admissions.running

    @property
    def wanted(self) -> list[str]:
        return [demand.job_types[0] for demand in self.quarantine.demand()]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_suspect_waits_until_the_engine_is_its_own() -> None:
    """It starts when those before it have ended, and those after it start when it has ended."""
    bench = Bench()
    await bench.ask("first")
    await bench.ask("second")
    await bench.ask("again", alone=True)
    await bench.ask("late")
    assert bench.running == ["first", "second"]

    await bench.end("first")
    assert bench.running == ["second"]
    await bench.end("second")
    assert bench.running == ["again"]
    await bench.end("again")
    assert bench.running == ["late"]


async def test_suspects_go_one_by_one() -> None:
    """Two suspects aren't each other's company either."""
    bench = Bench()
    await bench.ask("one", alone=True)
    await bench.ask("two", alone=True)
    assert bench.running == ["one"]
    await bench.end("one")
    assert bench.running == ["two"]


async def test_nothing_more_is_demanded_of_that_model_meanwhile() -> None:
    """What couldn't start stays in the table, for other workers; other models go on."""
    bench = Bench()
    await bench.ask("first")
    assert bench.wanted == ["chat", "sdxl_image_fast"]
    await bench.ask("again", alone=True)
    assert bench.wanted == ["sdxl_image_fast"]
    await bench.ask("picture", "sdxl")
    assert bench.running == ["first", "picture"]

    await bench.end("first")
    assert bench.wanted == ["sdxl_image_fast"]
    await bench.end("again")
    assert bench.wanted == ["chat", "sdxl_image_fast"]


async def test_whoever_stops_waiting_holds_up_nobody() -> None:
    """A cancelled wait, on either side, leaves the gate as it was."""
    bench = Bench()
    await bench.ask("first")
    await bench.ask("again", alone=True)
    await bench.ask("late")
    await bench.cancel("again")
    assert bench.running == ["first", "late"]

    await bench.ask("once more", alone=True)
    await bench.ask("later")
    await bench.cancel("later")
    await bench.end("first")
    await bench.end("late")
    assert bench.running == ["once more"]
