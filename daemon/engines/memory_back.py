"""When the memory of an engine that is gone is free again, as the driver shows it.

A driver gives memory back a while after the process has ended, typically 0.5 to 1.5 s. Bytes are
reported free only after that, or the next model would be loaded into memory that isn't there yet.

1. It was read what the device used before the engine was stopped: most of what the engine held
   must be gone from that figure. Not all: what runs beside it takes and gives meanwhile.
2. The engine had ended by itself before anything could be read: the figure must have stopped
   falling. Where it never fell, either all was free at the first look or nothing is yet: that is
   waited for longer than drivers usually take.
3. Nobody waits for ever: what isn't back by then is told, and the driver shows it as used.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

_log = structlog.get_logger(__name__)

SHARE = 0.8
"""Of what an engine held, the part that must be free again. Ollama waits for the same."""

QUIET_S = 1.0
"""How long a figure that has fallen must not fall any more to count as settled."""

STILL_S = 2.5
"""The same of one that hasn't fallen at all."""

LONGEST_S = 30.0
POLL_S = 0.1
_FALL_BYTES = 16 * 2**20
"""A smaller change is noise."""

ReadUsed = Callable[[int], Awaitable[int | None]]
"""Returns the bytes of a device in use, by anybody; None: there is no driver to tell."""


class MemoryBack(Protocol):
    """Knows when a device has its memory back. Neither call raises."""

    async def used(self, model: str, device: int) -> int | None:
        """Return what the device uses now, before the model's engine is stopped."""
        ...

    async def wait(self, model: str, device: int, before: int | None, held_bytes: int) -> None:
        """Wait until what the engine held is free; `before` is what `used` said, if it could."""
        ...


class AtOnce:
    """Implements `MemoryBack` for devices without a driver: their memory ends with the process."""

    async def used(self, model: str, device: int) -> int | None:
        """Return nothing."""
        del model, device
        return None

    async def wait(self, model: str, device: int, before: int | None, held_bytes: int) -> None:
        """Wait for nothing."""
        del model, device, before, held_bytes


class DriverMemory:
    """Implements `MemoryBack` by asking the driver.

    Args:
        read: asks the driver.
        on_device: says of a model whether its engines use the device at all.
        clock: monotonic seconds.
        sleep: waits between two looks.
    """

    def __init__(
        self,
        read: ReadUsed,
        *,
        on_device: Callable[[str], bool] = lambda _: True,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._read = read
        self._on_device = on_device
        self._clock = clock
        self._sleep = sleep

    async def used(self, model: str, device: int) -> int | None:
        """Return what the device uses now."""
        return await self._read(device) if self._on_device(model) else None

    async def wait(self, model: str, device: int, before: int | None, held_bytes: int) -> None:
        """Wait until most of it is free, at most `LONGEST_S`."""
        if not self._on_device(model):
            return
        wanted = held_bytes * SHARE
        if before is not None and before < wanted:
            return  # so much was never used: the engine held it elsewhere
        started = self._clock()
        settled = _Settled(started)
        while (used := await self._read(device)) is not None:
            now = self._clock()
            if before - used >= wanted if before is not None else settled.look(used, now):
                _log.info(
                    "memory back", model=model, device=device, seconds=round(now - started, 3)
                )
                return
            if now - started >= LONGEST_S:
                _log.warning(
                    "memory not back",
                    model=model,
                    device=device,
                    held_bytes=held_bytes,
                    used_before=before,
                    used_bytes=used,
                    seconds=round(now - started, 3),
                )
                return
            await self._sleep(POLL_S)


class _Settled:
    """Whether a figure has stopped falling."""

    def __init__(self, now: float) -> None:
        self._lowest: int | None = None
        self._since_s = now
        self._quiet_s = STILL_S

    def look(self, used: int, now: float) -> bool:
        if self._lowest is None:
            self._lowest = used
        elif used < self._lowest - _FALL_BYTES:
            self._lowest, self._since_s, self._quiet_s = used, now, QUIET_S
        return now - self._since_s >= self._quiet_s
