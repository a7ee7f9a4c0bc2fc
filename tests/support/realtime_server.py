"""A Realtime server that does what a test's script says, and a source that runs against it."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import quote_plus

from eventually import PATIENCE_S
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from daemon.credentials import Credentials
from daemon.wakeups.backoff import Backoff
from daemon.wakeups.generation import GenerationTimes
from daemon.wakeups.realtime import RealtimeSource

KEY = "sb_publishable_do+not/show=this"
TOKEN = "a.token+of.the=worker"
CREDENTIALS = Credentials(KEY, TOKEN)
USUAL = GenerationTimes(
    ready_within_s=30, silent_for_s=30, wake_again_s=30, close_within_s=0.3, stop_within_s=0.3
)
IMPATIENT = replace(USUAL, ready_within_s=1.5)
"""For connections that never become ready; a busy machine makes a good one in a fraction of it."""
# For a test's pytestmark: the client logs a closed connection through an attribute that
# websockets has deprecated.
CLIENT_WARNING = "ignore:ConnectionClosed.(code|reason) is deprecated:DeprecationWarning"


class Mark(asyncio.Event):
    """An event for which a test waits, but not for ever."""

    async def wait(self) -> Literal[True]:
        async with asyncio.timeout(PATIENCE_S):
            return await super().wait()


class Session:
    """The server's side of one connection, frames as the recorded server sends them."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.join: dict[str, Any] = {}
        self.confirmed = Mark()
        self.heartbeats = 0
        self.closed = Mark()

    async def send(self, event: str, payload: Any, **more: Any) -> None:
        await self.socket.send(
            json.dumps(
                {"ref": None, "event": event, "payload": payload, "topic": self.topic} | more,
                separators=(",", ":"),
            )
        )

    @property
    def topic(self) -> str:
        return self.join["topic"] if self.join else "phoenix"

    async def joined(self) -> None:
        """Read on until the client joins."""
        while not self.join:
            await self.read()

    async def read(self) -> None:
        frame = json.loads(await self.socket.recv())
        if frame["event"] == "phx_join":
            self.join = frame
        elif frame["event"] == "heartbeat":
            self.heartbeats += 1
            answer = {"status": "ok", "response": {}}
            await self.send("phx_reply", answer, topic="phoenix")

    async def accept(self) -> None:
        changes = [
            {"id": number, **binding}
            for number, binding in enumerate(self.join["payload"]["config"]["postgres_changes"])
        ]
        answer = {"status": "ok", "response": {"postgres_changes": changes}}
        await self.send("phx_reply", answer, ref=self.join["ref"])

    async def system(self, status: str, message: str, extension: str = "postgres_changes") -> None:
        channel = self.topic.removeprefix("realtime:")
        await self.send(
            "system",
            {
                "channel": channel,
                "extension": extension,
                "message": message,
                "status": status,
            },
        )

    async def confirm(self) -> None:
        await self.system("ok", "Subscribed to PostgreSQL")
        self.confirmed.set()

    async def change(self, **data: Any) -> None:
        record = {"id": "241abfa6-2fb4-4ccd-bcb8-4d03fb1e3d4f", "status": "queued"}
        insert: dict[str, Any] = {
            "table": "jobs",
            "type": "INSERT",
            "record": record,
            "columns": [{"name": "id", "type": "uuid"}, {"name": "status", "type": "text"}],
            "errors": None,
            "schema": "public",
            "commit_timestamp": "2026-11-22T21:39:19.323Z",
        }
        await self.send("postgres_changes", {"data": insert | data, "ids": [0]})

    async def hold(self) -> None:
        """Answer heartbeats until the connection ends."""
        with suppress(ConnectionClosed):
            while True:
                await self.read()


Script = Callable[[Session], Awaitable[None]]


async def good(session: Session) -> None:
    await session.joined()
    await session.accept()
    await session.confirm()
    await session.hold()


async def refuses_the_join(session: Session) -> None:
    await session.joined()
    error = {"status": "error", "response": {"reason": "Unauthorized: no rights"}}
    await session.send("phx_reply", error, ref=session.join["ref"])
    await session.hold()


class ScriptedServer:
    """Plays one script per connection, the last one for all further ones."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.sessions: list[Session] = []
        self.refusals: list[Response] = []
        self.paths: list[str] = []
        self.port = 0
        self._changed = Mark()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def session(self, number: int) -> Session:
        """Wait for the nth connection, from 1."""
        while len(self.sessions) < number:
            self._changed.clear()
            await self._changed.wait()
        return self.sessions[number - 1]

    async def listen(self) -> Server:
        server = await serve(
            self._play, "127.0.0.1", self.port, process_request=self._refuse, max_size=None
        )
        self.port = next(iter(server.sockets)).getsockname()[1]
        return server

    def _refuse(self, _socket: ServerConnection, request: Request) -> Response | None:
        self.paths.append(request.path)
        return self.refusals.pop(0) if self.refusals else None

    async def _play(self, socket: ServerConnection) -> None:
        session = Session(socket)
        self.sessions.append(session)
        self._changed.set()
        script = self.scripts[min(len(self.sessions), len(self.scripts)) - 1]
        with suppress(ConnectionClosed):
            await script(session)
        await socket.wait_closed()
        session.closed.set()


@asynccontextmanager
async def scripted(*scripts: Script) -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer(*scripts)
    async with await server.listen():
        yield server


@asynccontextmanager
async def running(
    server: ScriptedServer,
    wake: asyncio.Event,
    times: GenerationTimes = USUAL,
    recycle_after_s: float = 3600,
) -> AsyncIterator[RealtimeSource]:
    source = RealtimeSource(
        server.url,
        CREDENTIALS,
        recycle_after_s=recycle_after_s,
        times=times,
        backoff=Backoff(lambda: 0.5, first_s=0.01, cap_s=0.02),
        random=lambda: 0.5,
    )
    async with living(source, wake):
        yield source


@asynccontextmanager
async def living(source: RealtimeSource, wake: asyncio.Event) -> AsyncIterator[None]:
    life = asyncio.create_task(source.run(wake))
    try:
        yield
        assert not life.done()
        assert not any(secret in str(source.state()) for secret in CREDENTIALS.secrets)
    finally:
        life.cancel()
        await asyncio.wait({life})
    assert life.cancelled()


async def woken(wake: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await wake.wait()
    wake.clear()


def unsafe_lines(records: list[logging.LogRecord]) -> list[str]:
    """Return what must not be logged at any level: the key, a row, a complaint of asyncio."""
    ours = [record for record in records if not record.name.startswith("websockets.server")]
    secrets = (KEY, quote_plus(KEY), TOKEN, quote_plus(TOKEN), "241abfa6-2fb4")
    return [
        record.getMessage()
        for record in ours
        if any(secret in record.getMessage() for secret in secrets)
        or (record.name == "asyncio" and record.levelno >= logging.WARNING)
    ]
