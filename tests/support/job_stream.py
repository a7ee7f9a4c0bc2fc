"""A job's events over HTTP, as a client reads them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
from daemon_process import Daemon

Told = tuple[int, str, Any]
WITHIN_S = 60.0


class Stream:
    """A job's events over HTTP."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self._lines = response.aiter_lines()

    async def events(self) -> AsyncIterator[Told]:
        """Return what is told until the stream ends."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(WITHIN_S):
            async for line in self._lines:
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                    continue
                if "event" in fields:
                    yield int(fields["id"]), fields["event"], json.loads(fields["data"])
                fields = {}

    async def rest(self) -> list[Told]:
        return [event async for event in self.events()]


@asynccontextmanager
async def watching(worker: Daemon, job: UUID, seen: int = 0) -> AsyncIterator[Stream]:
    """Open a job's stream after an event."""
    async with (
        httpx.AsyncClient(timeout=WITHIN_S, headers={"Last-Event-ID": str(seen)}) as client,
        client.stream("GET", f"{worker.url}/jobs/{job}/events") as response,
    ):
        yield Stream(response)
