"""Broadcast from the database: what the recordings can't show."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import asyncpg

from devstack.realtime import RealtimeSettings

Serve = Callable[..., Any]
Connect = Callable[..., Any]

SEND = "select realtime.send(jsonb_build_object('n', $1::integer), 'job', 'feed', true)"
PRIVATE = {"private": True, "broadcast": {"replication_ready": True}}
LISTENS = """
select pid from pg_stat_activity
where application_name = 'realtime_replication_connection' and state = 'idle'
    and query ilike 'listen%'
"""
ALICE = "aaaaaaaa-1111-4111-8111-111111111111"


def since(**options: Any) -> dict[str, Any]:
    return {"private": True, "broadcast": {"replay": {"since": 0, **options}}}


async def number(client: Any) -> int:
    """Return the next message's number."""
    frame = await client.next("broadcast")
    return int(frame["payload"]["payload"]["n"])


async def test_replay_and_live_are_one(
    serve: Serve, connect: Connect, database: asyncpg.Connection
) -> None:
    """While messages come without a pause, a join with replay misses none and gets none twice."""
    server = await serve()
    sent, most, stop = 0, 0, asyncio.Event()

    async def send() -> None:
        nonlocal sent
        while not stop.is_set():
            if sent >= most:
                await asyncio.sleep(0)
                continue
            await database.execute(SEND, sent)
            sent += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        for _ in range(5):
            client = await connect(server)
            # A replay tells the newest 25: so many mustn't come between the join and its look.
            most = sent + 20
            await client.join("feed", **since())
            found = [await number(client)]
            most = 10**6
            found += [await number(client) for _ in range(59)]
            assert found == list(range(found[0], found[0] + 60))
        stop.set()


async def test_a_transaction_is_delivered_in_order_when_it_is_committed(
    serve: Serve, connect: Connect, database: asyncpg.Connection
) -> None:
    """Nothing of it comes before, and nothing of one that is rolled back."""
    client = await connect(await serve())
    await client.subscribe("feed", **PRIVATE)

    transaction = database.transaction()
    await transaction.start()
    for count in range(50):
        await database.execute(SEND, count)
    assert [frame for frame in await client.rest() if frame["event"] == "broadcast"] == []
    await transaction.commit()
    assert [await number(client) for _ in range(50)] == list(range(50))

    await database.execute("begin")
    await database.execute(SEND, 100)
    await database.execute("rollback")
    await database.execute(SEND, 101)
    assert await number(client) == 101


async def test_without_a_partition_nothing_is_sent_and_nothing_fails(
    serve: Serve, connect: Connect, database: asyncpg.Connection
) -> None:
    """A project whose partitions weren't made ahead loses its broadcasts, with a warning."""
    client = await connect(await serve())
    await client.subscribe("feed", **PRIVATE)
    warned: list[str] = []
    database.add_log_listener(lambda _, message: warned.append(str(message)))

    await database.execute("begin")
    for name in await database.fetch(
        "select inhrelid::regclass::text as name from pg_inherits "
        "where inhparent = 'realtime.messages'::regclass"
    ):
        await database.execute(f"drop table {name['name']}")
    await database.execute(SEND, 1)
    await database.execute("rollback")
    await database.execute(SEND, 2)

    assert await number(client) == 2
    assert any("no partition" in warning for warning in warned)


async def test_a_lost_connection_loses_messages_and_a_replay_finds_them(
    serve: Serve, connect: Connect, database: asyncpg.Connection
) -> None:
    """Nobody is told; those who are joined hear again when it is back."""
    server = await serve(RealtimeSettings(messages_retry_s=3))
    client = await connect(server)
    await client.subscribe("feed", **PRIVATE)
    former = {row["pid"] for row in await database.fetch(LISTENS)}
    for pid in former:
        await database.execute("select pg_terminate_backend($1, 5000)", pid)
    await database.execute(SEND, 1)
    async with asyncio.timeout(60):
        while not {row["pid"] for row in await database.fetch(LISTENS)} - former:
            await asyncio.sleep(0.01)
    await database.execute(SEND, 2)

    assert await number(client) == 2
    assert [frame["event"] for frame in client.frames] == ["phx_reply"]
    late = await connect(server)
    await late.join("feed", **since())
    assert [await number(late) for _ in range(2)] == [1, 2]


async def test_http_broadcasts_obey_the_policies(
    serve: Serve, connect: Connect, database: asyncpg.Connection, http: aiohttp.ClientSession
) -> None:
    """Whoever may not send is told nothing, and nobody hears him."""
    await database.execute(
        "create policy p_write on realtime.messages for insert to authenticated "
        "with check (realtime.topic() = 'mine:' || auth.uid())"
    )
    server = await serve()
    client = await connect(server)
    topics = (f"mine:{ALICE}", "other")
    for topic in topics:
        await client.subscribe(topic, **PRIVATE)
    bearer = {"Authorization": f"Bearer {server.token('authenticated', sub=ALICE)}"}
    for topic in reversed(topics):
        message = {"topic": topic, "event": "e", "payload": {}, "private": True}
        url = f"{server.url}/realtime/v1/api/broadcast"
        async with http.post(url, json={"messages": [message]}, headers=bearer) as answer:
            assert answer.status == 202

    assert (await client.next("broadcast"))["topic"] == f"realtime:{topics[0]}"
    assert [frame for frame in await client.rest() if frame["event"] == "broadcast"] == []


async def test_policies_may_name_the_extension(
    serve: Serve, connect: Connect, database: asyncpg.Connection
) -> None:
    """Whoever may read broadcasts may join; one who may only see who is present may not."""
    await database.execute(
        "create policy p_read on realtime.messages for select to authenticated using ("
        "extension = 'broadcast' and topic = 'news' or extension = 'presence')"
    )
    client = await connect(await serve(), "authenticated", sub=ALICE)
    replies = []
    for topic in ("news", "room"):
        await client.join(topic, private=True)
        replies.append((await client.reply())["status"])

    assert replies == ["ok", "error"]


async def test_policies_that_are_asked_leave_nothing_behind(
    serve: Serve, connect: Connect, database: asyncpg.Connection
) -> None:
    """The question is rolled back, and is no message to anybody."""
    await database.execute(
        "create policy p_read on realtime.messages for select to authenticated using (true)"
    )
    client = await connect(await serve(), "authenticated", sub=ALICE)
    await client.subscribe("feed", **PRIVATE)

    assert await database.fetchval("select count(*) from realtime.messages") == 0
