"""Where a job's time went, in its row: with what is written anyway, and at every end."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from jobs_database import JobsDatabase

pytestmark = pytest.mark.asyncio(loop_scope="session")

SO_FAR = {"wake_up": 0.1, "queue": 2.0, "run": 3.5}


async def claimed(database: JobsDatabase) -> tuple[UUID, str]:
    """Return a claimed job and its claim."""
    job = await database.insert("chat")
    return job, await claim(database)


async def claim(database: JobsDatabase) -> str:
    demands = json.dumps([{"job_types": ["chat"], "count": 1}])
    claim_jobs = "select claim_id from claim_jobs('w', $1, $2, $3, 12)"
    return str(await database.owner.fetchval(claim_jobs, uuid4(), uuid4(), demands))


async def report(database: JobsDatabase, claim_id: str, percent: int, timings: Any) -> None:
    progress = {"claim_id": claim_id, "percent": percent, "current_step": "s", "timings": timings}
    await database.owner.execute("select report_progress($1)", json.dumps([progress]))


async def finish(database: JobsDatabase, claim_id: str, outcome: str, timings: Any) -> None:
    entry = {"claim_id": claim_id, "outcome": outcome, "timings": timings, "retry_in_s": 0}
    await database.owner.execute("select finish_jobs($1)", json.dumps([entry]))


async def timings_of(database: JobsDatabase, job: UUID) -> Any:
    text = (await database.row(job))["timings"]
    return None if text is None else json.loads(text)


async def test_the_account_alone_is_no_reason_to_write(database: JobsDatabase) -> None:
    """It changes all the time, and each write is a message to whoever watches."""
    job, claim_id = await claimed(database)
    await report(database, claim_id, 10, SO_FAR)
    await report(database, claim_id, 10, SO_FAR | {"run": 4.5})
    assert await timings_of(database, job) == SO_FAR
    await report(database, claim_id, 20, SO_FAR | {"run": 5.5})
    assert await timings_of(database, job) == SO_FAR | {"run": 5.5}
    await report(database, claim_id, 30, None)

    assert await timings_of(database, job) == SO_FAR | {"run": 5.5}


@pytest.mark.parametrize("outcome", ["completed", "failed"])
async def test_every_end_keeps_what_adds_up(database: JobsDatabase, outcome: str) -> None:
    """And nothing else of what a worker measures."""
    job, claim_id = await claimed(database)
    measured = {"running": 3.5, "engine_decode": 1.25, "load": 1.235, "vram": None}
    await finish(database, claim_id, outcome, SO_FAR | measured)

    assert await timings_of(database, job) == SO_FAR | {"load": 1.235}
    [run] = await database.runs(job)
    assert json.loads(run["timings"]) == SO_FAR | measured


@pytest.mark.parametrize("timings", [None, [], {}])
async def test_a_worker_that_measured_nothing_ends_a_job_all_the_same(
    database: JobsDatabase, timings: Any
) -> None:
    """What it says is taken, whatever it is."""
    job, claim_id = await claimed(database)
    await finish(database, claim_id, "completed", timings)

    row = await database.row(job)
    assert (row["status"], row["timings"]) == ("completed", None)


@pytest.mark.parametrize("how", ["released", "retry", "from outside"])
async def test_a_job_that_is_queued_again_begins_anew(database: JobsDatabase, how: str) -> None:
    """Its runs keep their own accounts."""
    job, claim_id = await claimed(database)
    await report(database, claim_id, 10, SO_FAR)
    if how == "from outside":
        await database.owner.execute("update jobs set status = 'queued' where id = $1", job)
    else:
        await finish(database, claim_id, how, SO_FAR)

    assert await timings_of(database, job) is None
    assert await claim(database) != claim_id
    assert await timings_of(database, job) is None


async def test_a_cancelled_job_keeps_what_was_known(database: JobsDatabase) -> None:
    """A finished row doesn't change any more: the whole account stands in its run."""
    job, claim_id = await claimed(database)
    await report(database, claim_id, 10, SO_FAR)
    await database.owner.execute("select cancel_job($1)", job)
    await finish(database, claim_id, "cancelled", SO_FAR | {"run": 9.0})

    assert await timings_of(database, job) == SO_FAR
    [run] = await database.runs(job)
    assert json.loads(run["timings"])["run"] == 9
