"""The real Python client, supabase 2.34.1, against our server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient
from realtime import RealtimePostgresChangesListenEvent as Listen

# The client reads an attribute that websockets has deprecated, and dies of the warning as an error.
pytestmark = pytest.mark.filterwarnings(
    "ignore:ConnectionClosed.(code|reason) is deprecated:DeprecationWarning"
)
DEADLINE = 60.0
INSERT = "insert into public.jobs(job_type) values ($1)"


@asynccontextmanager
async def client_of(server: Any, key: str) -> AsyncIterator[AsyncRealtimeClient]:
    client = AsyncRealtimeClient(f"{server.url}/realtime/v1", key, initial_backoff=0.05)
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


class Subscriber:
    """What the callbacks of one channel were told."""

    def __init__(self, channel: AsyncRealtimeChannel, table: str, **options: Any) -> None:
        self.channel = channel
        self.changes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.systems: asyncio.Queue[Any] = asyncio.Queue()
        self.states: list[str] = []
        channel.on_postgres_changes(
            Listen.All,
            schema="public",
            table=table,
            callback=lambda payload: self.changes.put_nowait(payload["data"]),
            **options,
        )
        channel.on_system(self.systems.put_nowait)

    async def subscribe(self) -> None:
        await self.channel.subscribe(lambda state, _: self.states.append(state.value))
        await self.ready()

    async def ready(self) -> None:
        async with asyncio.timeout(DEADLINE):
            system = await self.systems.get()
        assert (system.status, system.message) == ("ok", "Subscribed to PostgreSQL")

    async def change(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE):
            return await self.changes.get()


@pytest.mark.parametrize("key", ["token", "opaque"])
async def test_changes_arrive(
    serve: Callable[..., Any], database: asyncpg.Connection, key: str
) -> None:
    """Insert, update and delete reach the callbacks, with either kind of key."""
    server = await serve(sb_secret_key="service_role")
    async with client_of(server, server.token() if key == "token" else "sb_secret_key") as client:
        subscriber = Subscriber(client.channel("jobs"), "jobs")
        await subscriber.subscribe()

        await database.execute(INSERT, "a")
        await database.execute("update public.jobs set status = 'running'")
        await database.execute("delete from public.jobs")
        changes = [await subscriber.change() for _ in range(3)]

        assert [change["type"].value for change in changes] == ["INSERT", "UPDATE", "DELETE"]
        assert changes[0]["record"]["job_type"] == "a"
        assert changes[1]["record"]["status"] == "running"
        assert changes[2]["old_record"] == {"id": changes[0]["record"]["id"]}


async def test_filter_and_select(serve: Callable[..., Any], database: asyncpg.Connection) -> None:
    """The client's own parameters are understood."""
    server = await serve()
    async with client_of(server, server.token()) as client:
        options = {"filter": "job_type=eq.b", "select": ["job_type"]}
        subscriber = Subscriber(client.channel("jobs"), "jobs", **options)
        await subscriber.subscribe()

        await database.execute(INSERT, "a")
        await database.execute(INSERT, "b")

        assert sorted((await subscriber.change())["record"]) == ["id", "job_type"]


async def test_client_comes_back_after_a_dropped_connection(
    serve: Callable[..., Any], database: asyncpg.Connection
) -> None:
    """It joins again by itself and is told when changes arrive again."""
    server = await serve()
    async with client_of(server, server.token()) as client:
        subscriber = Subscriber(client.channel("jobs"), "jobs")
        await subscriber.subscribe()

        server.faults.drop_all(None)
        await subscriber.ready()
        await database.execute(INSERT, "again")

        assert (await subscriber.change())["record"]["job_type"] == "again"


async def test_refused_subscription_is_told(
    serve: Callable[..., Any], database: asyncpg.Connection
) -> None:
    """A table outside the publication is joined and then refused."""
    server = await serve()
    async with client_of(server, server.token()) as client:
        told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        channel = client.channel("nopub")
        channel.on_postgres_changes(Listen.All, table="jobs_nopub", callback=print)
        await channel.subscribe(lambda state, error: told.put_nowait((state.value, str(error))))
        async with asyncio.timeout(DEADLINE):
            joined, refused = await told.get(), await told.get()

    assert (joined[0], refused[0]) == ("SUBSCRIBED", "CHANNEL_ERROR")
    assert "check Realtime is enabled" in refused[1]


async def test_broadcast_by_socket_and_http(serve: Callable[..., Any]) -> None:
    """Another client gets both."""
    server = await serve()
    async with (
        client_of(server, server.token("anon")) as a,
        client_of(server, server.token("anon")) as b,
    ):
        heard: asyncio.Queue[Any] = asyncio.Queue()
        joined = [asyncio.Event(), asyncio.Event()]
        listening = b.channel("room").on_broadcast("hi", heard.put_nowait)
        await listening.subscribe(lambda *_: joined[0].set())
        speaking = a.channel("room")
        await speaking.subscribe(lambda *_: joined[1].set())
        async with asyncio.timeout(DEADLINE):
            for event in joined:
                await event.wait()
            await speaking.send_broadcast("hi", {"n": 1})
            first = await heard.get()
            await speaking.http_send("hi", {"n": 2})
            second = await heard.get()

        assert (first["payload"], second["payload"]) == ({"n": 1}, {"n": 2})
