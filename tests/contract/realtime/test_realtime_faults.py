"""Every fault switch does what its name says, and nothing else."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import asyncpg
import pytest
from replication import caught_up, read_past, slot_made

from devstack.realtime import RealtimeSettings
from devstack.realtime.faults import MALFORMED, OVERSIZE_BYTES

JOBS = {"event": "*", "schema": "public", "table": "jobs"}
INSERT = "insert into public.jobs(job_type) values ($1)"

Serve = Callable[..., Any]
Connect = Callable[..., Any]
Database = asyncpg.Connection


@pytest.mark.parametrize(
    ("status", "error"), [(401, "Token has expired"), (404, "Tenant not found"), (503, "")]
)
async def test_refused_handshakes_say_why(
    serve: Serve, http: aiohttp.ClientSession, status: int, error: str
) -> None:
    """The body is JSON as the real server's, or empty."""
    server = await serve()
    server.faults.refuse, server.faults.refuse_status = True, status
    server.faults.refuse_error = error
    url = f"{server.url}/realtime/v1/websocket?apikey={server.token()}"

    async with http.get(url) as answer:
        body = await answer.text()

    assert answer.status == status
    assert body == (json.dumps({"error": error}) if error else "")


async def test_deaf_to_changes_alone(serve: Serve, connect: Connect, database: Database) -> None:
    """Clients still hear one another."""
    server = await serve()
    client = await connect(server)
    await client.subscribe("room", JOBS, broadcast={"self": True})

    server.faults.deaf_to_changes = True
    await database.execute(INSERT, "lost")
    await read_past(database)
    await client.push("realtime:room", "broadcast", {"event": "hi"})
    await client.next("broadcast")
    server.faults.deaf_to_changes = False
    await database.execute(INSERT, "heard")

    assert (await client.change())["record"]["job_type"] == "heard"


async def test_given_up_channels_stay_deaf(
    serve: Serve, connect: Connect, database: Database
) -> None:
    """Who joins afterwards hears everything; who was there hears again with a fresh token."""
    server = await serve()
    old, new = await connect(server), await connect(server)
    await old.subscribe("jobs", JOBS)

    server.realtime.give_up()
    await new.subscribe("jobs", JOBS)
    await database.execute(INSERT, "one")
    assert (await new.change())["record"]["job_type"] == "one"
    assert [frame["event"] for frame in await old.rest()] == ["phx_reply"]

    token = server.token(jti="fresh")
    await old.push("realtime:jobs", "access_token", {"access_token": token})
    await old.next("system")
    await database.execute(INSERT, "two")
    assert (await old.change())["record"]["job_type"] == "two"


async def test_a_given_up_channel_hears_after_a_rejoin(
    serve: Serve, connect: Connect, database: Database
) -> None:
    """Nobody else is needed for that."""
    server = await serve()
    client = await connect(server)
    await client.subscribe("jobs", JOBS)

    server.realtime.give_up()
    await client.subscribe("jobs", JOBS)
    await database.execute(INSERT, "heard")

    assert (await client.change())["record"]["job_type"] == "heard"


async def test_dropped_changes_are_counted(
    serve: Serve, connect: Connect, database: Database
) -> None:
    """A change is one, however many would have heard of it."""
    server = await serve()
    clients = [await connect(server) for _ in range(2)]
    for client in clients:
        await client.subscribe("jobs", JOBS)

    server.faults.drop_changes = 2
    for number in range(3):
        await database.execute(INSERT, str(number))

    for client in clients:
        assert (await client.change())["record"]["job_type"] == "2"
    assert server.faults.drop_changes == 0


async def test_delayed_changes_come_late_and_in_order(
    serve: Serve, connect: Connect, database: Database
) -> None:
    """All of them, also where the delay is longer than the slot lingers."""
    server = await serve()
    client = await connect(server)
    await client.subscribe("jobs", JOBS)
    loop = asyncio.get_running_loop()

    server.faults.delay_changes_s = 0.3
    begun = loop.time()
    for number in range(2):
        await database.execute(INSERT, str(number))
        await caught_up(database)
    found = [(await client.change())["record"]["job_type"] for _ in range(2)]

    assert found == ["0", "1"]
    assert loop.time() - begun >= 0.3


async def test_confirmed_without_a_slot(serve: Serve, connect: Connect, database: Database) -> None:
    """The word is said, and nothing comes until slots can be made again."""
    server = await serve()
    server.faults.no_slot = True
    client = await connect(server)

    for number in range(20):
        await client.subscribe(f"jobs{number}", JOBS)
    assert await database.fetchval("select count(*) from pg_replication_slots") == 0
    await database.execute(INSERT, "lost")
    server.faults.no_slot = False
    await slot_made(database)
    await database.execute(INSERT, "heard")

    assert (await client.change())["record"]["job_type"] == "heard"


async def test_unanswered_joins(serve: Serve, connect: Connect) -> None:
    """Everything else on the socket is answered, and the next join as well."""
    server = await serve()
    client = await connect(server)

    server.faults.ignore_joins = True
    await client.join("a")
    assert await client.rest() == []
    server.faults.ignore_joins = False
    await client.join("a")

    assert (await client.reply())["status"] == "ok"


async def test_refused_joins(serve: Serve, connect: Connect) -> None:
    """For any reason."""
    server = await serve()
    client = await connect(server)

    server.faults.refuse_joins = "UnableToConnectToProject: no"
    await client.join("a")

    expected = {"status": "error", "response": {"reason": "UnableToConnectToProject: no"}}
    assert await client.reply() == expected


async def test_late_join_reply(serve: Serve, connect: Connect, database: Database) -> None:
    """The channel works before its join is answered."""
    server = await serve()
    server.faults.late_join_reply_s = 2
    client = await connect(server)

    ref = await client.join("jobs", JOBS)
    await client.next("system")
    await database.execute(INSERT, "early")
    assert (await client.change())["record"]["job_type"] == "early"
    assert client.frames == []

    late = await client.next("phx_reply")
    assert (late["ref"], late["payload"]["status"]) == (ref, "ok")


async def test_malformed_and_oversize_frames(serve: Serve, connect: Connect) -> None:
    """Both arrive as they are, and the socket stays."""
    server = await serve()
    client = await connect(server)
    await client.join("a")
    await client.reply()

    server.faults.send_all(MALFORMED)
    assert (await client.socket.receive(60)).data == MALFORMED
    server.faults.send_oversize()
    frame = (await client.socket.receive(60)).data

    assert len(frame) > OVERSIZE_BYTES
    assert json.loads(frame)["topic"] == "realtime:a"
    assert await client.rest() == []


async def test_system_error_and_stale_close(serve: Serve, connect: Connect) -> None:
    """The channel goes on whatever its client believes."""
    server = await serve()
    client = await connect(server)
    await client.join("a", broadcast={"self": True})
    await client.reply()

    server.faults.send_system_error("no")
    server.faults.send_stale_close("7")
    await client.push("realtime:a", "broadcast", {"event": "hi"})

    payload = {
        "message": "no",
        "status": "error",
        "extension": "postgres_changes",
        "channel": "a",
    }
    assert (await client.next("system"))["payload"] == payload
    assert (await client.next("phx_close"))["ref"] == "7"
    await client.next("broadcast")


async def test_crashed_channels(serve: Serve, connect: Connect) -> None:
    """They are gone, and can be joined again on the same socket."""
    server = await serve()
    client = await connect(server)
    ref = await client.join("a")
    await client.reply()

    server.faults.crash_channels()

    error = await client.next("phx_error")
    assert (error["topic"], error["ref"], error["payload"]) == ("realtime:a", ref, {})
    await client.push("realtime:a", "broadcast", {"event": "hi"})
    assert (await client.reply())["response"] == {"reason": "unmatched topic"}
    await client.join("a")
    assert (await client.reply())["status"] == "ok"


async def test_stalled_sockets(serve: Serve, connect: Connect, database: Database) -> None:
    """Nothing is read, written or closed, beyond the heartbeat's time; all of it comes later."""
    server = await serve(RealtimeSettings(heartbeat_timeout_s=1, idle_poll_interval_s=0.01))
    client = await connect(server)
    await client.subscribe("jobs", JOBS)
    await client.rest()

    server.faults.stall_all()
    await database.execute(INSERT, "late")
    await client.push("phoenix", "heartbeat", {})
    with pytest.raises(TimeoutError):
        await client.socket.receive(2)
    other = await connect(server)
    assert await other.rest() == []
    server.faults.resume_all()

    arrived = [(await client.socket.receive_json(timeout=60))["event"] for _ in range(2)]
    assert sorted(arrived) == ["phx_reply", "postgres_changes"]


async def test_a_stalled_socket_holds_no_stop_up(serve: Serve, connect: Connect) -> None:
    """It is dropped when the server goes."""
    server = await serve()
    client = await connect(server)
    await client.rest()

    server.faults.stall_all()
    await server.realtime.stop()

    assert await client.closed() == 1006
