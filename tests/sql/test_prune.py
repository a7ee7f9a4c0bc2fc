"""What is removed by age, and what stays."""

import json
from uuid import UUID, uuid4

import pytest
from jobs_database import JobsDatabase

pytestmark = pytest.mark.asyncio(loop_scope="session")

DAY = 24 * 3600


async def run_one(database: JobsDatabase, *, ends: bool = True) -> UUID:
    """Insert a job, claim it, and complete it if told so."""
    job_id = await database.insert()
    demands = '[{"job_types": ["chat"], "count": 1}]'
    claim_id = await database.owner.fetchval(
        "select claim_id from claim_jobs('w', $1, $2, $3, 12)", uuid4(), uuid4(), demands
    )
    if ends:
        await database.owner.execute(
            "select finish_jobs($1)",
            json.dumps([{"claim_id": str(claim_id), "outcome": "completed", "result": {}}]),
        )
    return job_id


async def test_only_old_ended_runs_are_pruned(database: JobsDatabase) -> None:
    """Jobs stay, and so do open runs however old."""
    old = await run_one(database)
    open_one = await run_one(database, ends=False)
    await database.pass_time(8 * DAY)
    young = await run_one(database)

    assert await database.owner.fetchval("select prune_job_runs('7 days')") == 1
    assert [len(await database.runs(job_id)) for job_id in (old, open_one, young)] == [0, 1, 1]
    assert (await database.row(old))["status"] == "completed"


async def test_finished_jobs_are_pruned_when_asked(database: JobsDatabase) -> None:
    """With their runs; unfinished ones stay, and cancelled ones whose worker hasn't heard."""
    await run_one(database)
    running = await run_one(database, ends=False)
    waiting = await database.insert()
    await database.owner.execute("select cancel_job($1)", running)
    await database.pass_time(40 * DAY)

    assert await database.owner.fetchval("select prune_finished_jobs('30 days')") == 1
    left = await database.owner.fetch("select id from jobs")
    assert {UUID(str(row["id"])) for row in left} == {waiting, running}
