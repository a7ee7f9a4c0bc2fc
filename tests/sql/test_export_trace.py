"""The trace that a simulation runs: what was asked for when, and nothing of who asked for what."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from jobs_database import ALICE, BOB, NOON, CreateDatabase, JobsDatabase, opened

from daemon.migrate import migrate

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXPORT = "select * from export_trace($1, $2)"
END = NOON + timedelta(days=1)


async def exported(database: JobsDatabase, *, since: datetime = NOON) -> list[tuple[Any, ...]]:
    """Return the trace, arrivals as seconds after noon."""
    rows = await database.owner.fetch(EXPORT, since, END)
    return [(row["arrived_s"] - NOON.timestamp(), *list(row)[1:]) for row in rows]


async def run_one(database: JobsDatabase, outcome: str, timings: dict[str, Any]) -> None:
    """Claim whatever is next, and finish it."""
    demands = '[{"job_types": ["chat", "sdxl_image_fast"], "count": 1}]'
    claim_id = await database.owner.fetchval(
        "select claim_id from claim_jobs('w', $1, $2, $3, 12)", uuid4(), uuid4(), demands
    )
    finish = {"claim_id": str(claim_id), "outcome": outcome, "timings": timings, "retry_in_s": 0}
    await database.owner.execute("select finish_jobs($1)", json.dumps([finish]))


async def test_jobs_come_in_the_order_of_arrival(database: JobsDatabase) -> None:
    """Finished, waiting and given-up ones alike, each with its type and priority."""
    await database.insert("chat", priority=2)
    await run_one(database, "completed", {"waiting": 9.0, "running": 4.5})
    await database.pass_time(10)
    await database.insert("video_high")
    await database.insert("sdxl_image_fast", created_at=NOON + timedelta(seconds=5))
    await run_one(database, "failed", {"running": 3.0})

    assert await exported(database) == [
        (0.0, "chat", None, 2, 4.5, True),
        (5.0, "sdxl_image_fast", None, 0, None, False),
        (10.0, "video_high", None, 0, None, False),
    ]


async def test_users_are_numbers(database: JobsDatabase) -> None:
    """Who is the same stays the same, within one export; nobody's id is in it."""
    for user in (BOB, ALICE, None, BOB, ALICE):
        await database.insert(user_id=user)
        await database.pass_time((database.now - NOON).total_seconds() + 1)

    assert [row[2] for row in await exported(database)] == [1, 2, None, 1, 2]
    later = NOON + timedelta(seconds=1)
    assert [row[2] for row in await exported(database, since=later)] == [1, None, 3, 1]


async def test_the_last_completed_run_counts(database: JobsDatabase) -> None:
    """Those before it were cut short, or belong to a result that was thrown away."""
    job_id = await database.insert()
    await run_one(database, "released", {"running": 1.0})
    await run_one(database, "completed", {"running": 2.0})
    await database.pass_time(60)
    await database.owner.execute("update jobs set status = 'queued' where id = $1", job_id)
    await run_one(database, "completed", {"running": 3.0})

    assert await exported(database) == [(0.0, "chat", None, 0, 3.0, True)]


@pytest.mark.parametrize("timings", [{}, {"running": None}, {"running": "long"}])
async def test_seconds_that_nobody_measured_are_null(
    database: JobsDatabase, timings: dict[str, Any]
) -> None:
    """A simulation then takes what such jobs are expected to take."""
    await database.insert()
    await run_one(database, "completed", timings)

    assert await exported(database) == [(0.0, "chat", None, 0, None, True)]


async def test_only_that_time_is_exported(database: JobsDatabase) -> None:
    """The start belongs to it, the end to the next; a limit keeps the first."""
    for seconds in range(4):
        await database.insert(created_at=NOON + timedelta(seconds=seconds))
    since, until = NOON + timedelta(seconds=1), NOON + timedelta(seconds=3)

    rows = await database.owner.fetch(EXPORT, since, until)
    limited = await database.owner.fetch("select * from export_trace($1, $2, 1)", since, until)

    assert [row["arrived_s"] - NOON.timestamp() for row in rows] == [1, 2]
    assert limited == rows[:1]


async def test_what_no_worker_serves_is_left_out(create_database: CreateDatabase) -> None:
    """Rows of unknown types, and of an existing table those of other providers."""
    dsn = await create_database()
    async with opened(dsn) as database:
        await database.owner.execute(
            "create table jobs (id uuid primary key default gen_random_uuid(), user_id uuid, "
            "job_type text, status text, api_model_id uuid, created_at timestamptz)"
        )
        await migrate(dsn, report=lambda _: None)
        ours = await database.insert("chat", user_id=ALICE)
        await database.insert("chat", api_model_id=uuid4())
        await database.insert("paint")
        arrived = (await database.row(ours))["created_at"]
        rows = await database.owner.fetch(EXPORT, arrived, arrived + timedelta(hours=1))

    assert [(row["job_type"], row["user_number"]) for row in rows] == [("chat", 1)]


@pytest.mark.parametrize("upkeep", ["vacuum jobs", "vacuum (analyze) jobs, job_runs"])
async def test_an_hour_among_years_is_read_from_the_index(
    database: JobsDatabase, upkeep: str
) -> None:
    """Of twenty thousand other jobs few rows are read, and none of their runs."""
    await database.owner.execute(
        "with added as (insert into jobs (job_type, user_id, created_at) "
        "select 'chat', $1::uuid, $2::timestamptz - n * interval '1 hour' "
        "from generate_series(1, 20000) n returning id, created_at) "
        "insert into job_runs (claim_id, job_id, worker_id, instance_id, attempt, "
        "lease_expires_at, started_at, ended_at, outcome, timings) select gen_random_uuid(), id, "
        "'w', id, 1, created_at, created_at, created_at, 'completed', '{\"running\": 7}' "
        "from added",
        ALICE,
        NOON,
    )
    # New pages are summed up when the table is vacuumed; until then they are read.
    await database.owner.execute(upkeep)
    since, until = NOON - timedelta(hours=1005), NOON - timedelta(hours=1000)

    async def read() -> int:
        text = await database.owner.fetchval(
            f"explain (analyze, buffers, timing off, format json) {EXPORT}", since, until
        )
        plan = json.loads(text)[0]["Plan"]
        assert plan["Actual Rows"] == 5
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    pages = await database.owner.fetchval("select pg_relation_size('jobs') / 8192")
    # The first call of a session also reads the catalog.
    assert [await read() for _ in range(3)][-1] < 150 < pages / 2
