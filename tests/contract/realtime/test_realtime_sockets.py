"""Sockets and channels beyond the recordings: limits, private topics, faults, the end."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import asyncpg
import pytest

from devstack.realtime import RealtimeSettings

JOBS = {"event": "*", "schema": "public", "table": "jobs"}
INSERT = "insert into public.jobs(job_type) values ($1)"

Serve = Callable[..., Any]
Connect = Callable[..., Any]


async def test_channel_too_many_is_refused(serve: Serve, connect: Connect) -> None:
    """The limit is per socket."""
    client = await connect(await serve(RealtimeSettings(max_channels=2)))
    for topic in ("a", "b", "c"):
        await client.join(topic)
    replies = [await client.reply() for _ in range(3)]

    assert [reply["status"] for reply in replies] == ["ok", "ok", "error"]
    reason = "ChannelRateLimitReached: Too many channels"
    assert replies[2]["response"] == {"reason": reason}


async def test_refused_join_holds_up_its_socket(serve: Serve, connect: Connect) -> None:
    """The answer to a heartbeat waits behind it; other sockets don't."""
    server = await serve(RealtimeSettings(join_error_delay_s=2))
    slow, quick = await connect(server), await connect(server)

    await slow.join("a", access_token="garbage")
    held_up = asyncio.create_task(slow.rest())
    await quick.rest()

    assert not held_up.done()
    await held_up


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
async def test_private_channel(serve: Serve, connect: Connect, role: str) -> None:
    """Without policies only the role that passes row level security may join."""
    client = await connect(await serve(), role)

    await client.join("secret", private=True)
    reply = await client.reply()

    reason = "Unauthorized: You do not have permissions to read from this Channel topic: secret"
    refusal = {"status": "error", "response": {"reason": reason}}
    accepted = {"status": "ok", "response": {"postgres_changes": []}}
    assert reply == (accepted if role == "service_role" else refusal)


async def test_private_and_public_topics_are_two(serve: Serve, connect: Connect) -> None:
    """A message to one isn't heard on the other of the same name."""
    server = await serve()
    public, private = await connect(server), await connect(server)
    await public.join("room", broadcast={"self": True})
    await private.join("room", private=True)
    for client in (public, private):
        await client.reply()

    await public.push("realtime:room", "broadcast", {"event": "hi"})
    await public.next("broadcast")

    assert await private.rest() == []


async def test_leaving_what_was_never_joined(serve: Serve, connect: Connect) -> None:
    """It is answered like any leave."""
    client = await connect(await serve())

    await client.push("realtime:nowhere", "phx_leave", {})

    assert await client.reply() == {"status": "ok", "response": {}}


async def test_presence_state_comes_if_enabled(serve: Serve, connect: Connect) -> None:
    """A newcomer is told who is there."""
    server = await serve()
    first, second = await connect(server), await connect(server)
    await first.join("room", presence={"key": "alice"})
    await first.push("realtime:room", "presence", {"event": "track", "payload": {"at": 1}})
    await first.next("presence_diff")

    await second.join("room", presence={"key": "bob", "enabled": True})
    state = (await second.next("presence_state"))["payload"]

    assert [meta["at"] for meta in state["alice"]["metas"]] == [1]


@pytest.mark.parametrize("frame", ["no json", "[]", '{"topic": 1}', '["1","2","t","e"]', "null"])
async def test_malformed_frames_are_ignored(serve: Serve, connect: Connect, frame: str) -> None:
    """The socket stays."""
    client = await connect(await serve())

    await client.socket.send_str(frame)

    assert await client.rest() == []


async def test_binary_broadcast_reaches_both_protocols(
    serve: Serve, connect: Connect, http: aiohttp.ClientSession
) -> None:
    """Version 2.0.0 sends and gets binary frames; in 1.0.0 the same arrives as JSON."""
    server = await serve()
    old = await connect(server)
    await old.join("room")
    await old.reply()
    url = f"{server.url}/realtime/v1/websocket?apikey={server.token()}&vsn=2.0.0"
    async with http.ws_connect(url) as new, asyncio.timeout(60):
        config = {"config": {"broadcast": {"self": True}}}
        await new.send_str(json.dumps(["1", "1", "realtime:room", "phx_join", config]))
        await new.receive_str()
        parts = (b"1", b"2", b"realtime:room", b"hi", b"")
        header = bytes([3, *map(len, parts), 1])
        await new.send_bytes(header + b"".join(parts) + b'{"n":1}')
        echo = await new.receive_bytes()

    assert echo == bytes([4, 13, 2, 0, 1]) + b"realtime:roomhi" + b'{"n":1}'
    expected = {"event": "hi", "payload": {"n": 1}, "type": "broadcast"}
    assert (await old.next("broadcast"))["payload"] == expected


async def test_http_broadcast(serve: Serve, connect: Connect, http: aiohttp.ClientSession) -> None:
    """Messages are accepted with a key and in the right form only."""
    server = await serve(sb_publishable_x="anon")
    client = await connect(server)
    await client.join("room")
    url = f"{server.url}/realtime/v1/api/broadcast"
    message = {"topic": "room", "event": "hi", "payload": {"n": 1}}
    good, bad = {"messages": [message]}, {"messages": [{"topic": "room"}]}
    cases = [(good, "sb_publishable_x"), (bad, "sb_publishable_x"), (good, "garbage")]

    statuses = []
    for body, key in cases:
        async with http.post(url, json=body, headers={"apikey": key}) as answer:
            statuses.append(answer.status)

    assert statuses == [202, 422, 401]
    expected = {"event": "hi", "payload": {"n": 1}, "type": "broadcast"}
    assert (await client.next("broadcast"))["payload"] == expected


async def test_stopping_closes_with_1012(serve: Serve, connect: Connect) -> None:
    """What was sent before arrives first."""
    server = await serve()
    client = await connect(server)
    await client.join("a")
    await client.reply()
    closing = asyncio.create_task(client.closed())

    await server.realtime.close_sockets()

    assert await closing == 1012


class TestFaults:
    async def test_refused_handshake(
        self, serve: Serve, connect: Connect, http: aiohttp.ClientSession
    ) -> None:
        """It is 503 until the switch is off again."""
        server = await serve()
        server.faults.refuse = True
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await connect(server)
        server.faults.refuse = False

        assert refused.value.status == 503
        assert await (await connect(server)).rest() == []

    @pytest.mark.parametrize(("code", "seen"), [(1011, 1011), (None, 1006)])
    async def test_dropped_sockets(
        self, serve: Serve, connect: Connect, code: int | None, seen: int
    ) -> None:
        """With a code or without a word."""
        server = await serve()
        client = await connect(server)
        await client.rest()

        assert server.faults.drop_all(code) == 1
        assert await client.closed() == seen

    async def test_deaf(self, serve: Serve, connect: Connect, database: asyncpg.Connection) -> None:
        """Heartbeats are answered and changes lost."""
        server = await serve()
        client = await connect(server)
        await client.subscribe("jobs", JOBS)
        server.faults.deaf = True
        # The server reads on when it has dealt with what it read before: the lost row is past
        # when it has read what came after it.
        for statement in (
            "insert into public.jobs(job_type) values ('lost')",
            "insert into public.marker default values",
        ):
            await database.execute(statement)
            async with asyncio.timeout(60):
                while await behind(database):
                    await asyncio.sleep(0)
        server.faults.deaf = False
        await database.execute(INSERT, "heard")

        assert (await client.change())["record"]["job_type"] == "heard"

    async def test_mute_ok_and_its_repetition(
        self, serve: Serve, connect: Connect, database: asyncpg.Connection
    ) -> None:
        """Changes arrive although nobody was told; the word can be sent later."""
        server = await serve()
        client = await connect(server)
        server.faults.mute_system_ok = True
        await client.join("jobs", JOBS)
        async with asyncio.timeout(60):
            while not await database.fetchval(
                "select count(*) from pg_replication_slots where confirmed_flush_lsn is not null"
            ):
                await asyncio.sleep(0)
        await database.execute(INSERT, "a")
        await client.change()
        server.faults.mute_system_ok = False

        assert [frame["event"] for frame in client.frames] == ["phx_reply"]
        server.faults.repeat_system_ok()
        assert (await client.next("system"))["payload"]["status"] == "ok"

    async def test_mute_heartbeats(self, serve: Serve, connect: Connect) -> None:
        """Nothing else is held up."""
        server = await serve()
        server.faults.mute_heartbeats = True
        client = await connect(server)

        await client.push("phoenix", "heartbeat", {})
        await client.join("a")

        assert (await client.next("phx_reply"))["topic"] == "realtime:a"


async def behind(database: asyncpg.Connection) -> bool:
    """Whether the slot hasn't read all that was committed."""
    return bool(
        await database.fetchval(
            "select bool_or(confirmed_flush_lsn < pg_current_wal_insert_lsn()) "
            "from pg_replication_slots"
        )
    )
