"""Rows that are asked for and read over HTTP: added once, and nobody else's."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from jobs_database import ALICE, CreateDatabase, JobsDatabase, opened

from daemon.migrate import migrate

pytestmark = pytest.mark.asyncio(loop_scope="session")

SUBMIT = "select * from submit_job($1, $2, $3, $4, $5)"

ENUMERATED = """
create type public.job_kind as enum ('image_fast');
create type public.job_state as enum ('pending', 'queued', 'failed');
create table public.jobs (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null,
    job_type public.job_kind not null,
    status public.job_state default 'queued',
    metadata jsonb default '{}',
    error_message text,
    api_model_id uuid,
    attempts integer default 0,
    max_attempts integer default 3,
    created_at timestamptz default now(),
    started_at timestamptz,
    completed_at timestamptz
);
create function public.decorate() returns trigger language plpgsql as
$$ begin new.metadata := new.metadata || '{"seen": true}'; return new; end $$;
create trigger decorate before insert or update on public.jobs for each row
execute function public.decorate();
"""


async def submit(
    database: JobsDatabase, job_id: UUID, fingerprint: str | None = "f", job_type: str = "chat"
) -> tuple[Any, ...]:
    metadata = json.dumps({"prompt": "a lake"})
    row = await database.owner.fetchrow(SUBMIT, job_id, job_type, metadata, ALICE, fingerprint)
    assert row is not None
    return tuple(row)


async def test_a_submitted_job_is_like_any_inserted_one(database: JobsDatabase) -> None:
    """Queued, tagged and due; the plain defaults stand in everything that isn't given."""
    job_id = uuid4()

    answer = await submit(database, job_id)

    inserted = await database.row(await database.insert(user_id=uuid4()))
    row = await database.row(job_id)
    assert answer == (True, True, "queued")
    assert (row["user_id"], json.loads(row["metadata"])) == (ALICE, {"prompt": "a lake"})
    names = ("status", "priority", "max_attempts", "attempts", "run_after", "created_at")
    assert [row[name] for name in names] == [inserted[name] for name in names]


async def test_the_same_id_again_adds_and_changes_nothing(database: JobsDatabase) -> None:
    """It says how the job stands now; another fingerprint says that the id isn't this request's."""
    job_id = uuid4()
    await submit(database, job_id)
    await database.owner.execute("update jobs set status = 'processing' where id = $1", job_id)

    assert await submit(database, job_id) == (False, True, "processing")
    assert await submit(database, job_id, "g") == (False, False, "processing")
    assert await submit(database, job_id, None) == (False, False, "processing")
    assert await database.owner.fetchval("select count(*) from jobs") == 1


async def test_a_row_without_a_fingerprint_is_known_by_its_id(database: JobsDatabase) -> None:
    """Who sends it again since the answer was lost gets the same one."""
    job_id = uuid4()

    assert await submit(database, job_id, None) == (True, True, "queued")
    assert await submit(database, job_id, None) == (False, True, "queued")
    assert await submit(database, job_id, "f") == (False, False, "queued")


async def test_many_at_once_add_one(database: JobsDatabase) -> None:
    """Whichever workers they come by, one of them is told that the job is new."""
    job_id = uuid4()
    connections = [await asyncpg.connect(database.dsn) for _ in range(8)]
    try:
        answers = await asyncio.gather(
            *(
                connection.fetchrow(SUBMIT, job_id, "chat", "{}", ALICE, "f")
                for connection in connections
            )
        )
    finally:
        for connection in connections:
            await connection.close()

    assert sorted(tuple(answer) for answer in answers if answer) == [
        *[(False, True, "queued")] * 7,
        (True, True, "queued"),
    ]


async def test_a_waiting_twin_takes_the_row_of_the_first(database: JobsDatabase) -> None:
    """The first isn't committed yet: the second waits for it, and adds nothing."""
    job_id = uuid4()
    async with database.session() as first, database.session() as second:
        transaction = first.transaction()
        await transaction.start()
        await first.execute(SUBMIT, job_id, "chat", "{}", ALICE, "f")
        waiting = asyncio.create_task(second.fetchrow(SUBMIT, job_id, "chat", "{}", ALICE, "f"))
        pid = second.get_server_pid()
        while not await database.owner.fetchval("select pg_blocking_pids($1) <> '{}'", pid):
            await asyncio.sleep(0)
        await transaction.commit()
        answer = await waiting

    assert answer is not None
    assert tuple(answer) == (False, True, "queued")


async def test_a_repeat_wakes_nobody(database: JobsDatabase) -> None:
    """A client that asks again and again costs the fleet no look at the queue."""
    job_id, heard = uuid4(), []
    async with database.session() as listener:
        await listener.add_listener("ourvidz_jobs", lambda *told: heard.append(told))
        await submit(database, job_id)
        await submit(database, job_id)
        await listener.execute("select 1")

    assert len(heard) == 1


async def test_an_unknown_job_type_is_stored_as_failed(database: JobsDatabase) -> None:
    """As by any other insert."""
    assert await submit(database, uuid4(), job_type="sing") == (True, True, "failed")


async def test_rows_are_read_by_index(database: JobsDatabase) -> None:
    """However many jobs are watched: one look each second must not read the table."""
    ids = [await database.insert() for _ in range(3)]
    await database.owner.execute("analyze jobs")
    # A session of its own: it has counted nothing else.
    async with database.session("ourvidz_worker") as worker, worker.transaction():
        assert len(await worker.fetch("select * from read_jobs($1)", ids)) == 3
        scans = await worker.fetchrow(
            "select seq_scan, idx_scan > 0 as by_index from pg_stat_xact_user_tables "
            "where relname = 'jobs'"
        )

    assert scans is not None
    assert tuple(scans) == (0, True)


@pytest.mark.parametrize("status", ["queued", "completed"])
async def test_other_providers_rows_dont_exist(
    create_database: CreateDatabase, status: str
) -> None:
    """Neither to read, nor to cancel, nor as somebody's job by the same id."""
    dsn = await create_database()
    connection = await asyncpg.connect(dsn)
    await connection.execute(ENUMERATED)
    await connection.close()
    await migrate(dsn, report=lambda _: None)
    async with opened(dsn) as database:
        theirs = await database.insert(
            "image_fast", api_model_id=uuid4(), user_id=ALICE, status=status
        )

        with pytest.raises(asyncpg.UniqueViolationError, match="another provider"):
            await submit(database, theirs, job_type="image_fast")
        assert await database.owner.fetch("select * from read_jobs(array[$1::uuid])", theirs) == []
        assert await database.owner.fetch("select * from withdraw_job($1)", theirs) == []
        assert (await database.row(theirs))["status"] == status


async def test_an_existing_tables_types_and_triggers_are_served(
    create_database: CreateDatabase,
) -> None:
    """Enumerations are cast to; a trigger that changes the metadata doesn't make a repeat differ."""
    dsn = await create_database()
    connection = await asyncpg.connect(dsn)
    await connection.execute(ENUMERATED)
    await connection.close()
    await migrate(dsn, report=lambda _: None)
    async with opened(dsn) as database:
        job_id = uuid4()
        first = await submit(database, job_id, job_type="image_fast")
        again = await submit(database, job_id, job_type="image_fast")
        metadata = json.loads((await database.row(job_id))["metadata"])
        read = await database.owner.fetchrow("select * from read_jobs(array[$1::uuid])", job_id)
        [withdrawn] = await database.owner.fetch("select * from withdraw_job($1)", job_id)

    assert (first, again) == ((True, True, "queued"), (False, True, "queued"))
    assert metadata == {"prompt": "a lake", "seen": True}
    assert read is not None
    assert (read["job_type"], read["status"], withdrawn["status"]) == (
        "image_fast",
        "queued",
        "cancelled",
    )
