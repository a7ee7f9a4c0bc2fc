"""An engine without a process, for the pool and for admission: everything happens when told to."""

import asyncio
from collections.abc import Mapping
from typing import Any

from daemon.values import EngineEnd, EngineLostError, Loaded, Loss, Offloaded, RunOutput

GIB = 2**30


class FakeEngine:
    """Loads, runs and moves its weights when it is told to."""

    def __init__(
        self, weights_bytes: int, on: int = 0, load_error: Exception | None = None
    ) -> None:
        self.on = on
        self.load_error = load_error
        self.offload_error: Exception | None = None
        self.offloads = False
        self.may_load = asyncio.Event()
        self.may_offload = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_stop = asyncio.Event()
        self.may_stop.set()
        self.stops = 0
        self.stop_error: Exception | None = None
        self.cancelled: list[str] = []
        self.weights_bytes = weights_bytes
        self._over = asyncio.Event()
        self._end = EngineEnd(Loss.STOPPED, "stopped")

    async def load(self) -> Loaded:
        await self._until(self.may_load)
        if self.load_error is not None:
            raise self.load_error
        return Loaded(self.weights_bytes, 0.5, self.offloads)

    async def offload(self) -> Offloaded:
        if self._over.is_set():
            raise EngineLostError(self._end.reason, Loss.GONE)
        self.may_load.clear()
        await self._until(self.may_offload)
        self.may_offload.clear()
        if self.offload_error is not None:
            raise self.offload_error
        return Offloaded(GIB // 2, self.weights_bytes, 0.25)

    async def restore(self) -> Loaded:
        return await self.load()

    async def _until(self, event: asyncio.Event) -> None:
        """Wait for an event or the end; raises at the end."""
        waits = [asyncio.create_task(each.wait()) for each in (event, self._over)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        if self._over.is_set():
            raise EngineLostError(self._end.reason, self._end.loss)

    async def run(
        self, run_id: str, handler: str, params: Mapping[str, Any], progress: Any
    ) -> RunOutput:
        await self._until(self.may_end)
        return RunOutput({"run": run_id}, [], 7 * GIB, {})

    def cancel(self, run_id: str) -> None:
        self.cancelled.append(run_id)

    def die(self, reason: str, loss: Loss = Loss.KILLED) -> None:
        self._end = EngineEnd(loss, reason)
        self._over.set()

    async def stop(self, grace_s: float = 5.0) -> None:
        self.stops += 1
        if self.stop_error is not None:
            error, self.stop_error = self.stop_error, None
            raise error
        await self.may_stop.wait()
        self._over.set()

    async def ended(self) -> EngineEnd:
        await self._over.wait()
        return self._end


async def settled() -> None:
    """Let everything that is ready happen."""
    for _ in range(20):
        await asyncio.sleep(0)
