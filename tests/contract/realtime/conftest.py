"""A Realtime server for each test, on a database that the tests of this folder share."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from eventually import eventually

from devstack.postgres import Postgres
from devstack.realtime import Realtime, RealtimeSettings
from devstack.realtime.rates import Clock
from devstack.tokens import mint

DEADLINE = 60.0
SECRET = "realtime-tests-secret-of-more-than-32-bytes"
SQL = Path(__file__).parents[3] / "devstack" / "sql"
SCHEMA = Path(__file__).parents[1] / "transcripts" / "schema.sql"
PREPARE = """
create publication supabase_realtime;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public
    grant all on tables to anon, authenticated, service_role;
"""
FRESH_MESSAGES = """
truncate realtime.messages;
drop policy if exists p_read on realtime.messages;
drop policy if exists p_write on realtime.messages;
drop function if exists public.tell() cascade;
"""
FAST = RealtimeSettings(
    poll_interval_s=0.01,
    idle_poll_interval_s=0.01,
    slot_linger_s=0.2,
    retry_s=0.05,
    messages_retry_s=0.05,
)


@pytest.fixture(scope="session")
def realtime_dsn(postgres: Postgres) -> str:
    """A database of its own, so that other tests' tables and these don't meet."""

    async def make() -> str:
        dsn = await postgres.create_database(f"realtime_{uuid.uuid4().hex}")
        database = await asyncpg.connect(dsn)
        try:
            await database.execute(PREPARE)
            for script in ("02_auth.sql", "04_realtime.sql"):
                await database.execute((SQL / script).read_text())
        finally:
            await database.close()
        return dsn

    return asyncio.run(make())


@pytest.fixture
async def database(realtime_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection to fresh tables."""
    connection = await asyncpg.connect(realtime_dsn)
    try:
        await connection.execute(SCHEMA.read_text())
        await connection.execute(FRESH_MESSAGES)
        yield connection
    finally:
        await connection.close()


class Server:
    """A running Realtime server."""

    def __init__(self, realtime: Realtime, port: int) -> None:
        self.realtime = realtime
        self.faults = realtime.faults
        self.url = f"http://127.0.0.1:{port}"

    def token(self, role: str = "service_role", expires_in: float = 3600, **claims: Any) -> str:
        return mint(SECRET, role, expires_in=expires_in, claims=claims)


class Client:
    """A client that speaks protocol 1.0.0 and keeps what it got."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, token: str) -> None:
        self.socket = socket
        self.token = token
        self.frames: list[dict[str, Any]] = []
        self._ref = 0

    async def push(self, topic: str, event: str, payload: Any, **extra: Any) -> str:
        self._ref += 1
        frame = {"topic": topic, "event": event, "payload": payload, "ref": str(self._ref)}
        await self.socket.send_str(json.dumps(frame | extra))
        return str(self._ref)

    async def join(self, topic: str, *bindings: dict[str, Any], **options: Any) -> str:
        """Ask for a channel; return its join_ref."""
        token = options.pop("access_token", self.token)
        config = {"postgres_changes": list(bindings), **options}
        ref = str(self._ref + 1)
        payload = {"config": config, "access_token": token}
        await self.push(f"realtime:{topic}", "phx_join", payload, join_ref=ref)
        return ref

    async def subscribe(self, topic: str, *bindings: dict[str, Any], **options: Any) -> str:
        """Join and wait until changes arrive."""
        ref = await self.join(topic, *bindings, **options)
        system = await self.next("system")
        assert system["payload"]["status"] == "ok", system
        return ref

    async def next(self, event: str, topic: str | None = None) -> dict[str, Any]:
        """Return the next frame of an event; those before it are kept in `frames`."""
        async with asyncio.timeout(DEADLINE):
            while True:
                message = await self.socket.receive()
                assert message.type is aiohttp.WSMsgType.TEXT, message
                frame = json.loads(message.data)
                if frame["event"] == event and topic in (None, frame["topic"]):
                    return frame
                self.frames.append(frame)

    async def change(self) -> dict[str, Any]:
        """Return the data of the next change."""
        return (await self.next("postgres_changes"))["payload"]["data"]

    async def reply(self) -> dict[str, Any]:
        """Return the next reply."""
        return (await self.next("phx_reply"))["payload"]

    async def rest(self) -> list[dict[str, Any]]:
        """Return everything that arrived and wasn't asked for yet."""
        ref = await self.push("phoenix", "heartbeat", {})
        while (frame := await self.next("phx_reply"))["ref"] != ref:
            self.frames.append(frame)
        frames, self.frames = self.frames, []
        return frames

    async def closed(self) -> int | None:
        """Wait until the server closes; return its code."""
        async with asyncio.timeout(DEADLINE):
            while not self.socket.closed:
                await self.socket.receive()
        return self.socket.close_code


async def no_slot_is_left(realtime_dsn: str) -> None:
    """Wait for the ends of those that served a test: the next one must not see them."""
    database = await asyncpg.connect(realtime_dsn)
    try:
        none = "select not exists (select from pg_replication_slots)"
        await eventually(lambda: database.fetchval(none), what="no slot is left")
    finally:
        await database.close()


@pytest.fixture
async def serve(realtime_dsn: str) -> AsyncIterator[Callable[..., Any]]:
    """How to start a server, with these settings or others."""
    await no_slot_is_left(realtime_dsn)
    async with AsyncExitStack() as lifetime:

        async def start(
            settings: RealtimeSettings = FAST, now: Clock = time.monotonic, **keys: str
        ) -> Server:
            realtime = Realtime(realtime_dsn, SECRET, keys, settings, now)
            application = web.Application()
            application.add_routes(realtime.routes())
            runner = web.AppRunner(application, shutdown_timeout=1)
            await runner.setup()
            lifetime.push_async_callback(runner.cleanup)
            # Leaves first: it says goodbye to its sockets before they are torn down.
            await lifetime.enter_async_context(realtime)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return Server(realtime, runner.addresses[0][1])

        yield start


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def connect(http: aiohttp.ClientSession) -> Callable[..., Any]:
    """How to open a client, with a role, key or token of its own."""

    async def open_client(
        server: Server, role: str = "service_role", token: str = "", key: str = "", **claims: Any
    ) -> Client:
        token = token or server.token(role, **claims)
        url = f"{server.url}/realtime/v1/websocket?apikey={key or token}&vsn=1.0.0"
        return Client(await http.ws_connect(url, max_msg_size=0), token)

    return open_client
