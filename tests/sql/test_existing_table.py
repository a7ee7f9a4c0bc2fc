"""Migrations on top of somebody's jobs table: nothing is lost, and every change is announced."""

import json
from uuid import UUID, uuid4

import asyncpg
import pytest
from jobs_database import ALICE, CreateDatabase, JobsDatabase, opened

from daemon.jobs import Completed, ErrorCode, Failed, Finish, Progress, Recorded, Released
from daemon.migrate import migrate
from daemon.store.postgres import PostgresStore
from daemon.values import Demand, WorkerIdentity

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORKER = WorkerIdentity("host:7861", UUID(int=1))
OLD_ID = UUID(int=0x01D)

TABLE = """
create table public.profiles (id uuid primary key);
insert into public.profiles values ('00000000-0000-0000-0000-00000000000a');
{types}
create table public.jobs (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references public.profiles (id),
    job_type {job_type},
    status {status} default 'queued',
    metadata jsonb default '{{}}',
    original_prompt text,
    error_message text,
    api_model_id uuid,
    rating integer,
    created_at timestamptz default now(),
    started_at timestamptz,
    completed_at timestamptz,
    attempts integer default 0,
    max_attempts integer default 3
);
alter table public.jobs enable row level security;
create policy "Users can view own jobs" on public.jobs for select using (auth.uid() = user_id);
create policy "Users can update own jobs" on public.jobs for update using (auth.uid() = user_id);
create function public.touch() returns trigger language plpgsql as
$$ begin new.rating := coalesce(new.rating, 0); return new; end $$;
create trigger touch before update on public.jobs for each row execute function public.touch();
insert into public.jobs (id, user_id, job_type, status, metadata, error_message, attempts) values
    ('00000000-0000-0000-0000-0000000001d0', '00000000-0000-0000-0000-00000000000a', 'image_fast',
     'failed', '{{"prompt": "old"}}', 'it broke', null),
    ('00000000-0000-0000-0000-00000000001d', '00000000-0000-0000-0000-00000000000a', 'image_fast',
     'queued', '{{"prompt": "waiting"}}', null, null);
"""

SHAPES = {
    "text without checks": {"types": "", "job_type": "text not null", "status": "text"},
    "checks": {
        "types": "",
        "job_type": "varchar(50) not null check (job_type in ('image_fast', 'legacy_thing'))",
        "status": "text constraint their_status check (status in ('pending', 'queued', 'failed'))",
    },
    "enumerations": {
        "types": "create type job_kind as enum ('image_fast', 'legacy_thing');"
        "create type job_state as enum ('pending', 'queued', 'failed');",
        "job_type": "job_kind not null",
        "status": "job_state",
    },
}


async def existing(create_database: CreateDatabase, shape: str) -> tuple[str, list[str]]:
    """Make a database with somebody's table, migrate it, and return what was said."""
    dsn = await create_database()
    connection = await asyncpg.connect(dsn)
    await connection.execute("create schema auth; grant usage on schema auth to public")
    await connection.execute(
        "create function auth.uid() returns uuid language sql stable as "
        "$$ select (current_setting('request.jwt.claims', true)::jsonb ->> 'sub')::uuid $$"
    )
    await connection.execute(TABLE.format(**SHAPES[shape]))
    await connection.execute("grant all on public.jobs to anon, authenticated, service_role")
    await connection.close()
    lines: list[str] = []
    await migrate(dsn, report=lines.append)
    return dsn, lines


@pytest.mark.parametrize("shape", SHAPES)
async def test_rows_policies_and_triggers_stay(create_database: CreateDatabase, shape: str) -> None:
    """What was there reads as before, and their own words are still allowed."""
    dsn, _ = await existing(create_database, shape)
    async with opened(dsn) as database:
        old = await database.row(UUID(int=0x1D0))
        names = await database.owner.fetch(
            "select policyname as name from pg_policies where tablename = 'jobs' "
            "union all select tgname from pg_trigger where tgrelid = 'jobs'::regclass"
        )
        await database.owner.execute(
            "insert into jobs (user_id, job_type, status, api_model_id) "
            "values ($1, 'legacy_thing', 'pending', $2)", ALICE, uuid4(),
        )  # fmt: skip

    assert (old["status"], json.loads(old["metadata"]), old["error_message"], old["attempts"]) == (
        "failed", {"prompt": "old"}, "it broke", None
    )  # fmt: skip
    assert {"Users can view own jobs", "Users can update own jobs", "touch"} <= {
        row["name"] for row in names
    }


@pytest.mark.parametrize("shape", SHAPES)
async def test_whole_life_of_a_job_works(create_database: CreateDatabase, shape: str) -> None:
    """Claim, progress and both ends, with the columns that existing frontends read."""
    dsn, _ = await existing(create_database, shape)
    store = PostgresStore(dsn, pool_size=1, statement_timeout_s=5)
    async with opened(dsn) as database:
        await database.owner.execute("update jobs set original_prompt = 'p' where id = $1", OLD_ID)
        second_id = await database.insert("video7b_high_enhanced", user_id=ALICE)
        demand = [Demand(("image_fast", "video7b_high_enhanced"), 5)]
        jobs = {job.id: job for job in await store.claim(WORKER, uuid4(), demand, 12)}
        first, second = jobs[OLD_ID], jobs[second_id]

        await store.progress([Progress(first.claim_id, 40, "denoising")])
        working = await database.row(OLD_ID)
        answers = await store.finish(
            [
                Finish(first.claim_id, Completed({"image_url": "u"})),
                Finish(second.claim_id, Failed("no memory", ErrorCode.VRAM_OVERFLOW)),
            ]
        )
        done, failed = await database.row(OLD_ID), await database.row(second_id)
    await store.aclose()

    assert first.original_prompt == "p"
    assert json.loads(working["metadata"]) == {"prompt": "waiting", "progress": 40}
    assert set(answers.values()) == {Recorded.RECORDED}
    assert (done["status"], json.loads(done["result"]), json.loads(done["metadata"])) == (
        "completed", {"image_url": "u"}, {"prompt": "waiting", "progress": 100}
    )  # fmt: skip
    assert (failed["status"], failed["error"], failed["error_message"]) == (
        "failed", "no memory", "no memory"
    )  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_claim_tells_a_rows_past(create_database: CreateDatabase, shape: str) -> None:
    """Also of rows from before the columns that it is read from."""
    dsn, _ = await existing(create_database, shape)
    store = PostgresStore(dsn, pool_size=1, statement_timeout_s=5)
    async with opened(dsn) as database:
        await database.owner.execute("update jobs set created_at = null where id = $1", OLD_ID)
        [first] = await store.claim(WORKER, uuid4(), [Demand(("image_fast",), 5)], 12)
        await store.finish([Finish(first.claim_id, Released("signal 9", engine_lost=True))])
        released = await database.row(OLD_ID)
        [second] = await store.claim(WORKER, uuid4(), [Demand(("image_fast",), 5)], 12)
    await store.aclose()

    assert (released["status"], released["attempts"]) == ("queued", 0)
    assert [(job.engine_losses, job.priority) for job in (first, second)] == [(0, 0), (1, 0)]
    assert first.queued_s >= second.queued_s >= 0


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_job_is_added_by_its_word(create_database: CreateDatabase, shape: str) -> None:
    dsn, _ = await existing(create_database, shape)
    async with opened(dsn) as database:
        await database.owner.execute(
            "select enqueue_job('image_fast', '{\"prompt\": \"x\"}', p_user_id => $1)", ALICE
        )
        added = await database.owner.fetchval(
            "select count(*) from jobs where job_type::text = 'image_fast' and user_id = $1 "
            "and metadata->>'prompt' = 'x'",
            ALICE,
        )
    assert added == 1


async def test_widened_check_is_announced_and_keeps_the_rest_out(
    create_database: CreateDatabase,
) -> None:
    """The union of both lists, and nothing beyond."""
    dsn, lines = await existing(create_database, "checks")
    async with opened(dsn) as database:
        with pytest.raises(asyncpg.CheckViolationError, match="their_status"):
            await database.insert("image_fast", user_id=ALICE, status="sleeping")

    widened = [line for line in lines if "widened the constraint" in line]
    assert [line.split("it allows")[0] for line in widened] == [
        "notice: widened the constraint their_status of jobs.status: ",
        "notice: widened the constraint jobs_job_type_check of jobs.job_type: ",
    ]


async def test_rows_of_other_providers_are_never_touched(create_database: CreateDatabase) -> None:
    """Neither by triggers, nor claimed, nor swept, nor cancelled."""
    dsn, _ = await existing(create_database, "text without checks")
    store = PostgresStore(dsn, pool_size=1, statement_timeout_s=5)
    async with opened(dsn) as database:
        theirs = await database.insert("dalle", user_id=ALICE, api_model_id=uuid4(), priority=7000)
        before = await database.row(theirs)
        await store.sweep(WORKER, predecessor=True)
        jobs = await store.claim(WORKER, uuid4(), [Demand(("image_fast",), 9)], 12)
        cancelled = await database.owner.fetchval("select cancel_job($1)", theirs)
        summary = await store.queue_summary()

        assert await database.row(theirs) == before
    await store.aclose()
    assert (before["status"], before["priority"]) == ("queued", 7000)
    assert [job.id for job in jobs] == [OLD_ID]
    assert cancelled is None
    assert [backlog.job_type for backlog in summary] == ["image_fast"]


async def test_their_update_policy_doesn_t_open_the_workers_columns(
    create_database: CreateDatabase,
) -> None:
    """A browser may rate its job as before, and cancel it; it may not complete it."""
    dsn, _ = await existing(create_database, "text without checks")
    async with opened(dsn) as database, database.session("authenticated", ALICE) as browser:
        await browser.execute("update jobs set rating = 5 where id = $1", OLD_ID)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await browser.execute("update jobs set result = '{}' where id = $1", OLD_ID)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="can't be changed"):
            await browser.execute("update jobs set status = 'completed' where id = $1", OLD_ID)
        await browser.execute("update jobs set status = 'cancelled' where id = $1", OLD_ID)
        row = await database.row(OLD_ID)

    assert (row["status"], row["rating"]) == ("cancelled", 5)


async def test_database_without_the_old_column_has_no_mirror(database: JobsDatabase) -> None:
    """Only an existing table pays for existing frontends."""
    assert await database.owner.fetchval(
        "select count(*) = 0 from pg_trigger where tgname like '%mirror%'"
    )
