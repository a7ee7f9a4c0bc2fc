"""When the database says that work may exist, and when it says nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from jobs_database import NOON, CreateDatabase, JobsDatabase, opened

from daemon.migrate import migrate

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLAIM = (
    'select claim_id from claim_jobs(\'w\', $1, $2, \'[{"job_types": ["chat"], "count": 9}]\', 12)'
)

Heard = Callable[[], Any]


@pytest_asyncio.fixture(loop_scope="session")
async def heard(database: JobsDatabase) -> AsyncIterator[Heard]:
    """Count the hints since the last question."""
    connection = await asyncpg.connect(database.dsn)
    notes: asyncio.Queue[str] = asyncio.Queue()
    await connection.add_listener("ourvidz_jobs", lambda *args: notes.put_nowait(args[3]))
    await connection.add_listener("mark", lambda *args: notes.put_nowait("mark"))

    async def count() -> int:
        # Notifications arrive in commit order: what came before the mark has been heard.
        await database.owner.execute("notify mark")
        found = 0
        while await notes.get() != "mark":
            found += 1
        return found

    yield count
    await connection.close()


async def claimed(database: JobsDatabase) -> list[UUID]:
    rows = await database.owner.fetch(CLAIM, uuid4(), uuid4())
    return [row["claim_id"] for row in rows]


async def finish(database: JobsDatabase, claim_id: UUID, **fields: Any) -> None:
    finish = json.dumps([{"claim_id": str(claim_id), **fields}])
    await database.owner.execute("select * from finish_jobs($1)", finish)


async def test_insert_is_announced_once_a_transaction(database: JobsDatabase, heard: Heard) -> None:
    """A thousand rows are one hint, and each later transaction is one more."""
    async with database.owner.transaction():
        for _ in range(10):
            await database.insert()
    assert await heard() == 1
    await database.insert()
    await database.owner.execute("select enqueue_job('chat', '{}')")
    assert await heard() == 2


async def test_claim_and_completion_are_no_news(database: JobsDatabase, heard: Heard) -> None:
    """Nothing that makes no work wakes anybody."""
    await database.insert()
    await heard()
    [claim_id] = await claimed(database)
    await finish(database, claim_id, outcome="completed", result={})

    assert await heard() == 0


@pytest.mark.parametrize(
    ("fields", "hints"),
    [
        ({"outcome": "released"}, 1),
        ({"outcome": "retry", "retry_in_s": 0}, 1),
        ({"outcome": "retry", "retry_in_s": 5}, 0),
    ],
)
async def test_job_queued_again_is_announced_when_it_is_due(
    database: JobsDatabase, heard: Heard, fields: dict[str, Any], hints: int
) -> None:
    """A delayed retry isn't: the sweep knows when it is due."""
    await database.insert()
    [claim_id] = await claimed(database)
    await heard()
    await finish(database, claim_id, **fields)

    assert await heard() == hints


async def test_rescue_and_operators_update_are_announced(
    database: JobsDatabase, heard: Heard
) -> None:
    """Whoever queues a job again makes work."""
    job_id = await database.insert()
    await claimed(database)
    await database.pass_time(60)
    await heard()
    await database.owner.execute("select sweep_jobs('w', $1, false)", uuid4())
    rescued = await heard()
    await database.owner.execute("update jobs set status = 'failed' where id = $1", job_id)
    await database.owner.execute("update jobs set status = 'queued' where id = $1", job_id)

    assert (rescued, await heard()) == (1, 1)


REALTIME = """
create schema realtime;
create table realtime.messages (
    topic text, extension text, payload jsonb, event text, private boolean
);
alter table realtime.messages enable row level security;
create function realtime.topic() returns text language sql stable as
$$ select current_setting('realtime.topic', true) $$;
create function realtime.send(payload jsonb, event text, topic text, private boolean default true)
returns void language plpgsql as $$ begin
    if current_setting('test.broken', true) = 'on' then raise exception 'no partition'; end if;
    insert into realtime.messages values (topic, 'broadcast', payload, event, private);
end $$;
"""


async def test_broadcast_is_sent_where_the_server_has_it(
    create_database: CreateDatabase,
) -> None:
    """On a private topic, empty, also when a browser inserts; its failure costs no insert."""
    dsn = await create_database()
    connection = await asyncpg.connect(dsn)
    await connection.execute(REALTIME)
    await connection.close()
    await migrate(dsn, report=lambda _: None)
    async with opened(dsn) as database:
        async with database.session("authenticated", UUID(int=1)) as browser:
            await browser.execute("insert into jobs (job_type) values ('chat')")
        sent = await database.owner.fetch("select * from realtime.messages")
        await database.owner.execute("set test.broken = 'on'")
        await database.insert()
        async with database.session("ourvidz_worker") as worker:
            unheard = await worker.fetchval("select count(*) from realtime.messages")
            await worker.execute("set realtime.topic = 'ourvidz:jobs'")
            joined = await worker.fetchval("select count(*) from realtime.messages")

        assert await database.owner.fetchval("select count(*) from jobs") == 2
    assert [tuple(row) for row in sent] == [("ourvidz:jobs", "broadcast", "{}", "wake", True)]
    assert (unheard, joined) == (0, 1)


async def test_delayed_insert_wakes_harmlessly(database: JobsDatabase, heard: Heard) -> None:
    """An insert is always announced: whether it is due is for the claim to find out."""
    await database.insert(run_after=NOON + timedelta(hours=1))
    assert await heard() == 1
