"""A side server with routes to be hostile to, and a watch on what clients leave behind."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from eventually import eventually
from raw_http import Timers, connected

from daemon.sections import ServerSettings
from daemon.server.app import build_app
from daemon.server.bodies import json_body
from daemon.server.connections import ConnectionLimits
from daemon.server.keys import KeyRing
from daemon.server.protection import Protection
from daemon.server.reports import Health, Phase, Status
from daemon.server.service import SideServer

HEADERS_S, MOST = 11.0, 8
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


class Idle:
    """A daemon with nothing to do."""

    def health(self) -> Health:
        return Health("all", Phase.SERVING, 0.1)

    def ready(self) -> tuple[bool, list[str]]:
        return True, []

    def status(self) -> Status:
        return Status(self.health(), "w", "0")

    def exposition(self) -> bytes:
        return b""


class Bench:
    """A server with routes to be hostile to, and what has become of them."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.begun, self.cancelled = asyncio.Event(), asyncio.Event()
        self.side: SideServer

    @property
    def port(self) -> int:
        return self.side.port

    def server(self, keys: KeyRing | None = None, **settings: Any) -> SideServer:
        protection = Protection(ServerSettings(**settings), keys=keys)
        routes = [
            web.post("/echo", self.echo),
            web.get("/wait", self.wait),
            web.get("/flood", self.flood),
            web.get("/half", self.half),
        ]
        limits = ConnectionLimits(HEADERS_S, 75.0, MOST, self.timers.call_later)
        app = build_app(Idle(), protection=protection, routes=routes)
        self.side = SideServer(app, "127.0.0.1", 0, limits=limits)
        return self.side

    async def echo(self, request: web.Request) -> web.Response:
        self.begun.set()
        try:
            return web.json_response(await json_body(request))
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def wait(self, request: web.Request) -> web.Response:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return web.Response()

    async def flood(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 2**16)
        finally:
            self.cancelled.set()

    async def half(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        raise ValueError("a defect in mid-answer")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- names of descriptors, not paths


@asynccontextmanager
async def nothing_left() -> AsyncIterator[Bench]:
    """A bench; when the test is over no coroutine and no descriptor of it is left."""
    gc.collect()
    tasks, files = len(asyncio.all_tasks()), descriptors()
    yield Bench()
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks, what="no coroutine left")
    await eventually(lambda: descriptors() <= files, what="no descriptor left")


async def others_are_answered(bench: Bench) -> None:
    async with connected(bench.port) as other:
        await other.send(GET)
        assert (await other.answer())[0] == 200


async def alone(bench: Bench) -> None:
    await eventually(lambda: bench.side.connections == 0, what="no connection left")


def post(body: bytes, *lines: str, length: int | None = None) -> bytes:
    """Return a request whose length may be a lie."""
    said = len(body) if length is None else length
    head = ["POST /echo HTTP/1.1", "Host: x", f"Content-Length: {said}", *lines, "", ""]
    return "\r\n".join(head).encode() + body
