"""The canary: one for a whole fleet, through every source, and nobody else's business."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
import pytest_asyncio
from jobs_database import ALICE, CreateDatabase, JobsDatabase

from daemon.migrate import migrate

pytestmark = pytest.mark.asyncio(loop_scope="session")

BEAT = "select * from beat_canary($1)"
SENT = "update ourvidz_canary set sent_at = clock_timestamp() - $1::interval"

REALTIME = """
create schema realtime;
create table realtime.sent (id bigint generated always as identity, payload jsonb, event text,
    topic text, private boolean);
create function realtime.send(payload jsonb, event text, topic text, private boolean default true)
returns void language sql as $$
    insert into realtime.sent (payload, event, topic, private)
    values (payload, event, topic, private)
$$;
"""


@pytest_asyncio.fixture(loop_scope="session")
async def notes(database: JobsDatabase) -> AsyncIterator["asyncio.Queue[str]"]:
    """What is notified of canaries."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = await asyncpg.connect(database.dsn)
    await listener.add_listener("ourvidz_canary", lambda *args: heard.put_nowait(args[3]))
    yield heard
    await listener.close()


async def test_a_beat_counts_up_and_notifies(
    database: JobsDatabase, notes: "asyncio.Queue[str]"
) -> None:
    """The notification carries the serial that the caller gets."""
    first = await database.owner.fetchrow(BEAT, 0.0)
    second = await database.owner.fetchrow(BEAT, 0.0)

    assert first is not None
    assert second is not None
    assert second["serial"] == first["serial"] + 1
    assert 0 <= second["age_s"] < 60
    async with asyncio.timeout(60):
        assert [await notes.get(), await notes.get()] == [
            str(first["serial"]),
            str(second["serial"]),
        ]


async def test_a_young_canary_does_for_everybody(
    database: JobsDatabase, notes: "asyncio.Queue[str]"
) -> None:
    """Who asks again too soon is told of the last one; when it is old, a new one is sent."""
    sent = await database.owner.fetchrow(BEAT, 0.0)
    assert sent is not None
    await database.owner.execute(SENT, timedelta(seconds=2000))
    again = await database.owner.fetchrow(BEAT, 3000.0)
    assert again is not None
    assert again["serial"] == sent["serial"]
    assert 2000 <= again["age_s"] < 2100
    later = await database.owner.fetchval(BEAT, 1999.0)
    assert later == sent["serial"] + 1
    async with asyncio.timeout(60):
        assert [await notes.get(), await notes.get()] == [str(sent["serial"]), str(later)]


async def test_a_clock_that_was_set_back_doesnt_silence_it(database: JobsDatabase) -> None:
    """A canary of tomorrow is no reason to wait until then."""
    sent = await database.owner.fetchval(BEAT, 0.0)
    await database.owner.execute(SENT, timedelta(seconds=-86400))
    assert await database.owner.fetchval(BEAT, 3600.0) == sent + 1


async def test_eight_at_once_send_one(database: JobsDatabase) -> None:
    """A fleet that asks in the same moment sends one canary."""
    before = await database.owner.fetchval(BEAT, 0.0)
    await database.owner.execute(SENT, timedelta(seconds=60))
    sessions = [await asyncpg.connect(database.dsn) for _ in range(8)]
    try:
        found = await asyncio.gather(*(each.fetchval(BEAT, 30.0) for each in sessions))
    finally:
        for each in sessions:
            await each.close()
    assert set(found) <= {before, before + 1}
    assert await database.owner.fetchval("select serial from ourvidz_canary") == before + 1


async def test_there_is_one_row(database: JobsDatabase) -> None:
    """A second one would be another canary."""
    for values in ("(1, 5)", "(2, 5)"):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await database.owner.execute(f"insert into ourvidz_canary (id, serial) values {values}")


@pytest.mark.parametrize("role", ["anon", "authenticated"])
async def test_it_is_the_workers_alone(database: JobsDatabase, role: str) -> None:
    """Clients neither see nor send it; the worker sees it and can't write it."""
    for statement in ("select * from ourvidz_canary", "select * from beat_canary(0)"):
        async with database.session(role, ALICE) as client:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await client.execute(statement)
    async with database.session("ourvidz_worker", ALICE) as worker:
        assert len(await worker.fetch("select * from ourvidz_canary")) == 1
        assert len(await worker.fetch(BEAT, 0.0)) == 1
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await worker.execute("update ourvidz_canary set serial = 0")


async def test_broadcasts_wherever_the_database_can(create_database: CreateDatabase) -> None:
    """Also where `realtime.send` came after the migrations; without it, it says so."""
    dsn = await create_database()
    await migrate(dsn, report=lambda _: None)
    owner = await asyncpg.connect(dsn)
    try:
        found = await owner.fetchrow(BEAT, 0.0)
        assert found is not None
        assert not found["broadcast"]
        await owner.execute(REALTIME)

        found = await owner.fetchrow(BEAT, 0.0)
        await owner.execute("insert into jobs (job_type) values ('chat')")

        assert found is not None
        assert found["broadcast"]
        sent = await owner.fetch("select * from realtime.sent order by id")
        assert [(row["event"], row["topic"], row["private"]) for row in sent] == [
            ("canary", "ourvidz:jobs", True),
            ("wake", "ourvidz:jobs", True),
        ]
        assert json.loads(sent[0]["payload"]) == {"serial": found["serial"]}
    finally:
        await owner.close()


async def test_a_failing_broadcast_fails_nothing(create_database: CreateDatabase) -> None:
    """No rights, no partition: the row is stored, LISTEN is told, and the canary counts up."""
    dsn = await create_database()
    await migrate(dsn, report=lambda _: None)
    owner = await asyncpg.connect(dsn)
    try:
        await owner.execute(REALTIME)
        await owner.execute("drop table realtime.sent")
        before = await owner.fetchval("select serial from ourvidz_canary")
        await owner.execute("insert into jobs (job_type) values ('chat')")

        assert await owner.fetchval("select count(*) from jobs") == 1
        assert await owner.fetchval(BEAT, 0.0) == before + 1
    finally:
        await owner.close()
