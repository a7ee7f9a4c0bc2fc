"""Limits that are averages: what passes, what is refused or lost, and when that ends.

The clock of the averages stands still unless a test moves it.
"""

import asyncio
import dataclasses
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
import asyncpg
import pytest
from replication import read_past

from devstack.realtime import RealtimeSettings
from devstack.realtime.rates import Rate

JOBS = {"event": "INSERT", "schema": "public", "table": "jobs"}
INSERT = "insert into public.jobs(job_type) values ($1)"
BURST = "insert into public.jobs(job_type) select 'burst' from generate_series(1, $1)"
# What is quick in tests, and nothing else.
QUICK = {"poll_interval_s": 0.01, "idle_poll_interval_s": 0.01, "slot_linger_s": 0.2}

Serve = Callable[..., Any]
Connect = Callable[..., Any]
Database = asyncpg.Connection


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limited(**limits: Any) -> RealtimeSettings:
    return RealtimeSettings(**QUICK, **limits)


class TestRate:
    def test_a_burst_passes_and_silences_what_follows(self, clock: Clock) -> None:
        """7,000 at once, as recorded: over until they have left the last minute."""
        rate = Rate(100, 60, clock)
        clock.time += 60
        rate.add(7000)
        assert not rate.exceeded
        exceeded = []
        for _ in range(14):
            clock.time += 5
            exceeded.append(rate.exceeded)
        assert exceeded == [True] * 12 + [False] * 2

    def test_the_first_seconds_are_averaged_over_themselves(self, clock: Clock) -> None:
        """A young server refuses sooner than one that was quiet for a minute."""
        young, old = Rate(100, 60, clock), Rate(100, 60, clock)
        young.add(1000)
        clock.time += 5
        assert young.exceeded
        clock.time += 60
        old.add(1000)
        clock.time += 5
        assert not old.exceeded

    def test_a_steady_rate_below_the_limit_passes(self, clock: Clock) -> None:
        """For ever."""
        rate = Rate(100, 60, clock)
        for _ in range(600):
            rate.add(99)
            clock.time += 1
            assert not rate.exceeded

    def test_without_a_limit(self, clock: Clock) -> None:
        """Nothing is too much."""
        rate = Rate(None, 60, clock)
        rate.add(10**9)
        clock.time += 5
        assert not rate.exceeded

    def test_a_long_pause_forgets(self, clock: Clock) -> None:
        """Also one that nobody looked at."""
        rate = Rate(100, 60, clock)
        rate.add(10**6)
        clock.time += 3600
        assert not rate.exceeded


def test_like_hosted_differs_where_the_brackets_say() -> None:
    """Every limit is on, and every interval that development shortens has its length."""
    hosted, local = RealtimeSettings.like_hosted(), RealtimeSettings()
    different = {
        field.name
        for field in dataclasses.fields(RealtimeSettings)
        if getattr(hosted, field.name) != getattr(local, field.name)
    }
    document = RealtimeSettings.__doc__ or ""
    described = {
        line.split(":")[0].strip() for line in document.split("Attributes:")[1].splitlines()
    }
    assert described >= different
    assert hosted.idle_poll_interval_s == 0.5
    assert (hosted.max_messages_per_second, hosted.max_changes_per_second) == (100, 100)


async def test_too_many_messages_close_who_gets_one(
    serve: Serve, connect: Connect, clock: Clock
) -> None:
    """Counted when sent and when delivered; the sender who doesn't hear himself is let be."""
    server = await serve(limited(max_messages_per_second=1), clock)
    sender, hearer = await connect(server), await connect(server)
    for client in (sender, hearer):
        await client.join("room")
        await client.reply()

    for number in range(10):
        await sender.push("realtime:room", "broadcast", {"event": "x", "payload": {"n": number}})
    for number in range(10):
        assert (await hearer.next("broadcast"))["payload"]["payload"] == {"n": number}
    clock.time += 5
    await sender.push("realtime:room", "broadcast", {"event": "x", "payload": {}})

    await hearer.next("broadcast")
    system = (await hearer.next("system"))["payload"]
    assert (system["message"], system["extension"]) == ("Too many messages per second", "system")
    await hearer.next("phx_close")
    assert await sender.rest() == []


async def test_too_many_changes_are_lost_in_silence(
    serve: Serve, connect: Connect, database: Database, clock: Clock
) -> None:
    """The burst arrives; what follows within its minute doesn't; nobody is told."""
    server = await serve(limited(max_changes_per_second=1), clock)
    client = await connect(server)
    await client.subscribe("jobs", JOBS)
    clock.time += 60

    await database.execute(BURST, 60)
    for _ in range(60):
        assert (await client.change())["record"]["job_type"] == "burst"
    clock.time += 5
    await database.execute(INSERT, "lost")
    await read_past(database)
    clock.time += 60
    await database.execute(INSERT, "heard")

    assert (await client.change())["record"]["job_type"] == "heard"
    assert [frame["event"] for frame in await client.rest()] == ["phx_reply"]


async def test_changes_are_counted_for_each_binding(
    serve: Serve, connect: Connect, database: Database, clock: Clock
) -> None:
    """Half as many rows are too many for two."""
    server = await serve(limited(max_changes_per_second=1), clock)
    client = await connect(server)
    twice = {**JOBS, "filter": "job_type=neq.none"}
    await client.subscribe("jobs", JOBS, twice)
    clock.time += 60

    await database.execute(BURST, 30)
    for _ in range(30):
        await client.change()
    clock.time += 5
    await database.execute(INSERT, "lost")
    await read_past(database)
    clock.time += 60
    await database.execute(INSERT, "heard")

    assert (await client.change())["record"]["job_type"] == "heard"


async def test_a_cold_server_takes_its_time(
    serve: Serve, connect: Connect, database: Database
) -> None:
    """What comes before its word is lost; who joins while it is warm waits for nothing."""
    server = await serve(limited(cold_start_s=2))
    first, second = await connect(server), await connect(server)
    loop = asyncio.get_running_loop()
    begun = loop.time()

    await first.join("jobs", JOBS)
    await first.reply()
    await database.execute(INSERT, "lost")
    await first.next("system")
    assert loop.time() - begun >= 2
    server.realtime.faults.no_slot = True  # No other one is needed.
    await second.subscribe("jobs", JOBS)
    await database.execute(INSERT, "heard")

    for client in (first, second):
        assert (await client.change())["record"]["job_type"] == "heard"


async def test_too_many_joins(
    serve: Serve, connect: Connect, http: aiohttp.ClientSession, clock: Clock
) -> None:
    """A socket that joins is closed, and no other gets in until the minute is over."""
    server = await serve(limited(max_joins_per_second=1), clock)
    client = await connect(server)
    for number in range(10):
        await client.join(str(number))
        assert (await client.reply())["status"] == "ok"
    clock.time += 5

    await client.join("one more")
    reason = "ClientJoinRateLimitReached: Too many joins per second"
    assert await client.reply() == {"status": "error", "response": {"reason": reason}}
    assert await client.closed() == 1000
    url = f"{server.url}/realtime/v1/websocket?apikey={server.token()}"
    async with http.get(url) as answer:
        assert answer.status == 429
        assert json.loads(await answer.text()) == {"error": "Too many joins per second"}
    clock.time += 65
    assert await (await connect(server)).rest() == []


async def test_too_many_connections(
    serve: Serve, connect: Connect, http: aiohttp.ClientSession
) -> None:
    """One that leaves makes room."""
    server = await serve(limited(max_connections=1))
    client = await connect(server)
    url = f"{server.url}/realtime/v1/websocket?apikey={server.token()}"

    async with http.get(url) as answer:
        assert answer.status == 429
        assert json.loads(await answer.text()) == {"error": "Too many connected users"}
    await client.socket.close()

    async with asyncio.timeout(60):
        while True:
            with suppress(aiohttp.WSServerHandshakeError):
                assert await (await connect(server)).rest() == []
                break


async def test_large_broadcasts(serve: Serve, connect: Connect) -> None:
    """They reach nobody; who wants an answer is told."""
    server = await serve(limited(max_broadcast_bytes=1000))
    client = await connect(server)
    await client.join("room", broadcast={"self": True, "ack": True})
    await client.reply()

    for size in (2000, 10):
        payload = {"event": "x", "payload": {"text": "x" * size}}
        await client.push("realtime:room", "broadcast", payload)

    assert await client.reply() == {"status": "error", "response": "payload_size_exceeded"}
    assert await client.reply() == {"status": "ok", "response": {}}
    (frame,) = [frame for frame in await client.rest() if frame["event"] == "broadcast"]
    assert len(frame["payload"]["payload"]["text"]) == 10


async def test_http_broadcasts_are_limited_too(
    serve: Serve, http: aiohttp.ClientSession, clock: Clock
) -> None:
    """By size with 422, by rate with 429."""
    settings = limited(max_broadcast_bytes=1000, max_messages_per_second=1)
    server = await serve(settings, clock, sb_publishable_x="anon")
    url = f"{server.url}/realtime/v1/api/broadcast"

    async def send(size: int, count: int = 1) -> int:
        message = {"topic": "room", "event": "x", "payload": {"text": "x" * size}}
        headers = {"apikey": "sb_publishable_x"}
        async with http.post(url, json={"messages": [message] * count}, headers=headers) as answer:
            return answer.status

    assert [await send(2000), await send(10, 10)] == [422, 202]
    clock.time += 5
    assert await send(10) == 429
    clock.time += 65
    assert await send(10) == 202
