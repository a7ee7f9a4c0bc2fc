"""Row level security and grants, tried as each role."""

from uuid import uuid4

import asyncpg
import pytest
from jobs_database import ALICE, BOB, JobsDatabase

pytestmark = pytest.mark.asyncio(loop_scope="session")

DENIED = asyncpg.InsufficientPrivilegeError

WORKER_CALLS = [
    "select * from claim_jobs('w', gen_random_uuid(), gen_random_uuid(), '[]', 12)",
    "select * from renew_leases('{}', 12)",
    "select * from report_progress('[]')",
    "select * from finish_jobs('[]')",
    "select * from sweep_jobs('w', gen_random_uuid(), false)",
    "select * from queue_summary()",
    "select charge_users('[]')",
    "select * from foretell_queue('w', '[]', 25, 2)",
    "select ourvidz_schema_version()",
    "select * from export_trace(now() - interval '1 day', now())",
    "select * from submit_job(gen_random_uuid(), 'chat', '{}')",
    "select * from read_jobs(array[gen_random_uuid()])",
    "select * from withdraw_job(gen_random_uuid())",
    "select * from list_jobs()",
    "select * from retry_job(gen_random_uuid())",
    "select prune_job_runs('1 day')",
    "select prune_finished_jobs('1 day')",
]
OWNER_CALLS = ["select enqueue_job('chat', '{}')", "select cancel_job(gen_random_uuid())"]


@pytest.mark.parametrize("role", ["ourvidz_worker", "service_role"])
@pytest.mark.parametrize("call", WORKER_CALLS + OWNER_CALLS)
async def test_worker_and_service_may_call_everything(
    database: JobsDatabase, role: str, call: str
) -> None:
    """Both keys run a worker."""
    async with database.session(role) as connection:
        await connection.execute(call)


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.parametrize("call", WORKER_CALLS)
async def test_browsers_may_call_none_of_the_workers_functions(
    database: JobsDatabase, role: str, call: str
) -> None:
    """A token that a browser holds can't claim, finish or prune."""
    async with database.session(role, ALICE) as connection:
        with pytest.raises(DENIED, match="permission denied for function"):
            await connection.execute(call)


async def test_every_function_is_closed_to_strangers(database: JobsDatabase) -> None:
    """A function that is added is refused to clients unless it stands in this list."""
    open_to_clients = await database.owner.fetch(
        "select distinct p.proname::text as name from pg_proc p "
        "join pg_namespace n on n.oid = p.pronamespace "
        "where n.nspname = 'public' and (has_function_privilege('anon', p.oid, 'execute') "
        "or has_function_privilege('authenticated', p.oid, 'execute')) order by 1"
    )
    without_path = await database.owner.fetch(
        "select p.proname::text from pg_proc p where p.prosecdef "
        "and p.pronamespace in ('public'::regnamespace, 'ourvidz'::regnamespace) "
        "and not coalesce('search_path=\"\"' = any (p.proconfig), false)"
    )

    assert [row["name"] for row in open_to_clients] == [
        "cancel_job",
        "enqueue_job",
        "known_job_types",
        "ourvidz_now",
    ]
    assert without_path == []


async def test_owner_sees_only_his_rows(database: JobsDatabase) -> None:
    """Others' rows don't exist for him, neither to read nor to cancel."""
    mine, hers = await database.insert(user_id=BOB), await database.insert(user_id=ALICE)
    async with database.session("authenticated", BOB) as browser:
        seen = await browser.fetch("select id from jobs")
        updated = await browser.execute("update jobs set status = 'cancelled' where id = $1", hers)
        called = await browser.fetchval("select cancel_job($1)", hers)

    assert [row["id"] for row in seen] == [mine]
    assert (updated, called) == ("UPDATE 0", None)
    assert (await database.row(hers))["status"] == "queued"


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ("status = 'completed'", "can't be changed"),
        ("status = 'processing'", "can't be changed"),
        ("status = 'cancelled', result = '{}'", "permission denied"),
        ("priority = 100", "permission denied"),
        ("attempts = 0", "permission denied"),
        ("user_id = null", "permission denied"),
    ],
)
async def test_owner_may_change_nothing_but_cancel(
    database: JobsDatabase, change: str, refusal: str
) -> None:
    """Neither the status to anything else, nor any other column."""
    await database.insert(user_id=ALICE)
    async with database.session("authenticated", ALICE) as browser:
        with pytest.raises(DENIED, match=refusal):
            await browser.execute(f"update jobs set {change}")
        with pytest.raises(DENIED, match="permission denied"):
            await browser.execute("truncate jobs")
        with pytest.raises(DENIED, match="permission denied"):
            await browser.execute("delete from jobs")


async def test_finished_job_can_t_be_cancelled(database: JobsDatabase) -> None:
    """It stays as it ended; the function says how."""
    job_id = await database.insert(user_id=ALICE, status="completed")
    async with database.session("authenticated", ALICE) as browser:
        updated = await browser.execute("update jobs set status = 'cancelled'")
        called = await browser.fetchval("select cancel_job($1)", job_id)

    assert (updated, called) == ("UPDATE 0", "completed")


async def test_cancelling_twice_is_cancelling_once(database: JobsDatabase) -> None:
    """The second call changes nothing."""
    job_id = await database.insert(user_id=ALICE)
    async with database.session("authenticated", ALICE) as browser:
        first = await browser.fetchval("select cancel_job($1)", job_id)
        before = await database.row(job_id)
        await database.pass_time(5)
        second = await browser.fetchval("select cancel_job($1)", job_id)
        missing = await browser.fetchval("select cancel_job($1)", uuid4())

    assert (first, second, missing) == ("cancelled", "cancelled", None)
    assert await database.row(job_id) == before


async def test_worker_hears_of_rows_and_reads_no_request(database: JobsDatabase) -> None:
    """Realtime delivers what a role may select: enough for a hint, and no more."""
    job_id = await database.insert(user_id=ALICE)
    async with database.session("ourvidz_worker") as worker:
        row = await worker.fetchrow("select id, status, job_type, user_id, created_at from jobs")
        for refused in (
            "select metadata from jobs",
            "select * from job_runs",
            "update jobs set status = 'cancelled'",
            "delete from jobs",
            "insert into jobs (job_type) values ('chat')",
        ):
            with pytest.raises(DENIED, match="permission denied"):
                await worker.execute(refused)

    assert row["id"] == job_id


@pytest.mark.parametrize("role", ["anon", "authenticated"])
async def test_runs_are_nobodys_business(database: JobsDatabase, role: str) -> None:
    """Leases and errors of runs are never readable by clients, nor published."""
    async with database.session(role, ALICE) as browser:
        with pytest.raises(DENIED, match="permission denied"):
            await browser.execute("select * from job_runs")
        with pytest.raises(DENIED, match="permission denied"):
            await browser.execute("select * from ourvidz_migrations")
    published = await database.owner.fetch("select tablename from pg_publication_tables")
    assert {row["tablename"] for row in published} == {"jobs", "ourvidz_canary"}
