"""A network that loses requests and answers, or a proxy that refuses them, as a test asks."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web


@dataclass
class Fault:
    """What happens to a request instead of its proper answer.

    Attributes:
        method: the request's.
        path: a part of its path.
        status: answered without asking the server.
        body: that answer's.
        arrives: how much of the request reaches the server before the connection is cut; None:
            no cut; -1: all of it.
        after: how many such requests go well first.
    """

    method: str
    path: str
    status: int = 0
    body: str = ""
    arrives: int | None = None
    after: int = 0


@dataclass
class FaultyNetwork:
    """Stands between the store and the stack, plays each fault once, and keeps a list."""

    target: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    url: str = ""

    def count(self, method: str, path: str) -> int:
        return sum(verb == method and path in seen for verb, seen, _ in self.requests)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FaultyNetwork"]:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{rest:.*}", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as self._session:
            yield self
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((request.method, request.path, len(body)))
        fault = self._fault(request)
        if fault and fault.status:
            return web.Response(status=fault.status, text=fault.body, content_type="text/html")
        if not fault:
            return await self._forward(request, body)
        if fault.arrives:
            await self._forward(request, body if fault.arrives == -1 else body[: fault.arrives])
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    def _fault(self, request: web.Request) -> Fault | None:
        for fault in self.faults:
            if request.method == fault.method and fault.path in request.path:
                fault.after -= 1
                if fault.after < 0:
                    self.faults.remove(fault)
                    return fault
        return None

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        hop = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}
        headers = {k: v for k, v in request.headers.items() if k.lower() not in hop}
        async with self._session.request(
            request.method, self.target + request.path_qs, headers=headers, data=io.BytesIO(body)
        ) as answer:
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in hop}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())
