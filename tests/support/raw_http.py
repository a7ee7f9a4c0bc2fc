"""Connections on which a test writes bytes as it likes, and a clock that it turns by hand."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

WITHIN_S = 30.0
"""When to give up on something that should have come at once."""


@dataclass
class Raw:
    """One connection, without an HTTP client to hold back."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers in small letters, and body of the next answer."""
        async with asyncio.timeout(WITHIN_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.strip().split("\r\n")
            headers = {
                name.lower(): value for name, value in (line.split(": ", 1) for line in lines)
            }
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(status.split()[1]), headers, body

    async def failure(self) -> tuple[int, str]:
        """Return status and code of the next answer, which must have the one shape."""
        status, headers, body = await self.answer()
        told = json.loads(body)
        assert headers["content-type"] == "application/json; charset=utf-8"
        assert (headers["server"], told["success"]) == ("ourvidz-worker", False)
        return status, told["error_code"]

    async def rest(self) -> bytes:
        """Return everything up to the end; a reset is one too."""
        found = b""
        async with asyncio.timeout(WITHIN_S):
            try:
                while part := await self.reader.read(2**16):
                    found += part
            except ConnectionError:
                pass
        return found


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Raw]:
    """A raw connection to the port."""
    raw = Raw(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield raw
    finally:
        raw.writer.transport.abort()
        with suppress(ConnectionError):
            await raw.writer.wait_closed()


@dataclass
class Timer:
    delay: float
    call: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Timers:
    """Stands in for `loop.call_later`: nothing is late before the test says so."""

    made: list[Timer] = field(default_factory=list)

    def call_later(self, delay: float, call: Callable[[], object]) -> Any:
        self.made.append(Timer(delay, call))
        return self.made[-1]

    def pending(self, delay: float) -> list[Timer]:
        return [each for each in self.made if each.delay == delay and not each.cancelled]

    def fire(self, delay: float) -> int:
        """Let all of this length run out; return how many there were."""
        due = self.pending(delay)
        for each in due:
            each.cancelled = True
            each.call()
        return len(due)
