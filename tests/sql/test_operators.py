"""What operators ask of rows: found by what they say, and put back as a new try."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from jobs_database import ALICE, BOB, NOON, CreateDatabase, JobsDatabase, opened

from daemon.migrate import migrate

pytestmark = pytest.mark.asyncio(loop_scope="session")

RETRY = "select * from retry_job($1)"
CLAIM = (
    'select claim_id from claim_jobs(\'w\', $1, $1, \'[{"job_types": ["chat"], "count": 1}]\', 12)'
)


async def test_jobs_are_found_by_each_thing_and_all_together(database: JobsDatabase) -> None:
    """The newest first, and no more than asked for."""
    old = await database.insert("chat", user_id=ALICE, created_at=NOON - timedelta(days=2))
    failed = await database.insert("chat", user_id=BOB, status="failed", error="it broke")
    new = await database.insert(
        "sdxl_image_fast", user_id=ALICE, created_at=NOON + timedelta(seconds=1)
    )

    async def found(arguments: str) -> list[object]:
        rows = await database.owner.fetch(f"select id from list_jobs({arguments})")
        return [row["id"] for row in rows]

    assert await found("") == [new, failed, old]
    assert await found("p_limit => 1") == [new]
    assert await found("p_limit => -1") == []
    assert await found("p_statuses => '{failed,cancelled}'") == [failed]
    assert await found("p_job_types => '{chat}'") == [failed, old]
    assert await found(f"p_user_id => '{ALICE}'") == [new, old]
    assert await found(f"p_since => '{NOON.isoformat()}'") == [new, failed]
    assert await found(f"p_job_ids => '{{{old},{uuid4()}}}'") == [old]
    assert await found(f"p_user_id => '{ALICE}', p_job_types => '{{chat}}'") == [old]


async def test_a_failed_job_is_run_from_the_start(database: JobsDatabase) -> None:
    """With all of its attempts, at once, and nothing left of the last try."""
    job_id = await database.insert(
        status="failed", attempts=3, error="it broke", error_code="GENERATION_FAILED",
        progress=40, run_after=NOON + timedelta(days=1), completed_at=NOON,
    )  # fmt: skip

    answer = await database.owner.fetchrow(RETRY, job_id)

    row = await database.row(job_id)
    assert tuple(answer or ()) == ("queued", True)
    assert (row["status"], row["attempts"], row["progress"]) == ("queued", 0, 0)
    assert (row["error"], row["error_code"], row["completed_at"]) == (None, None, None)
    assert row["run_after"] == NOON
    assert await database.owner.fetchval(CLAIM, uuid4()) is not None


async def test_a_retry_takes_a_cancelled_job_from_the_worker_that_still_runs_it(
    database: JobsDatabase,
) -> None:
    """Its late finish is stale, and the new run is another one."""
    job_id = await database.insert()
    claim_id = await database.owner.fetchval(CLAIM, uuid4())
    await database.owner.fetchval("select cancel_job($1)", job_id)

    answer = await database.owner.fetchrow(RETRY, job_id)

    finish = json.dumps([{"claim_id": str(claim_id), "outcome": "completed", "result": {}}])
    late = await database.owner.fetchrow("select state from finish_jobs($1)", finish)
    assert tuple(answer or ()) == ("queued", True)
    assert late is not None
    assert late["state"] == "stale"
    assert (await database.row(job_id))["status"] == "queued"


@pytest.mark.parametrize("status", ["queued", "processing", "completed"])
async def test_what_has_not_failed_is_left_alone(database: JobsDatabase, status: str) -> None:
    """A result is never thrown away, nor a run doubled."""
    job_id = await database.insert(status=status, result='{"response": "yes"}')
    before = await database.row(job_id)

    answer = await database.owner.fetchrow(RETRY, job_id)

    assert tuple(answer or ()) == (status, False)
    assert await database.row(job_id) == before


async def test_a_type_that_nobody_knows_is_not_tried_again(database: JobsDatabase) -> None:
    """It failed when it was stored, and would wait for ever."""
    job_id = await database.insert("paint")

    answer = await database.owner.fetchrow(RETRY, job_id)

    assert tuple(answer or ()) == ("failed", False)


async def test_no_such_job(database: JobsDatabase) -> None:
    """No row says so."""
    assert await database.owner.fetchrow(RETRY, uuid4()) is None


async def test_other_providers_rows_do_not_exist_here(create_database: CreateDatabase) -> None:
    """Neither listed nor put back; and words of an enumeration are found as text."""
    dsn = await create_database()
    async with opened(dsn) as database:
        await database.owner.execute(
            "create type job_state as enum ('pending', 'queued', 'failed'); "
            "create type job_kind as enum ('image_fast'); "
            "create table jobs (id uuid primary key default gen_random_uuid(), user_id uuid, "
            "job_type job_kind, status job_state, api_model_id uuid, created_at timestamptz)"
        )
        await migrate(dsn, report=lambda _: None)
        ours = await database.insert("image_fast", status="failed")
        theirs = await database.insert("image_fast", status="failed", api_model_id=uuid4())

        listed = await database.owner.fetch("select id from list_jobs(p_statuses => '{failed}')")
        ours_now = await database.owner.fetchrow(RETRY, ours)
        theirs_now = await database.owner.fetchrow(RETRY, theirs)
        added = await database.owner.fetchrow("select * from enqueue_job('image_fast', '{}')")

        assert [row["id"] for row in listed] == [ours]
        assert tuple(ours_now or ()) == ("queued", True)
        assert theirs_now is None
        assert (await database.row(theirs))["status"] == "failed"
        assert added is not None
        assert added["status"] == "queued"
