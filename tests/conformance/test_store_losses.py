"""What a claim tells of a job's past: lost engines, the time in the queue; on every store."""

from datetime import timedelta
from uuid import uuid4

import pytest
from jobs_database import NOON, JobsDatabase
from worker_calls import LEASE_S, WORKER, claim, finish

from daemon.jobs import ErrorCode, Failed, Recorded, Released, Retry
from daemon.ports import JobStore
from daemon.values import Demand

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOST = Released("signal 9", engine_lost=True)


async def test_a_lost_engine_costs_a_job_nothing(store: JobStore, database: JobsDatabase) -> None:
    """It is queued at once and uncounted; the reason stays with the run."""
    job_id = await database.insert()
    [job] = await claim(store)

    assert await finish(store, job, LOST) == Recorded.RECORDED

    row = await database.row(job_id)
    [run] = await database.runs(job_id)
    assert (row["status"], row["attempts"], row["run_after"]) == ("queued", 0, NOON)
    assert (row["error"], row["error_code"]) == (None, None)
    assert (run["outcome"], run["engine_lost"], run["error"]) == ("released", True, "signal 9")


async def test_claims_tell_how_often_a_job_lost_its_engine(
    store: JobStore, database: JobsDatabase
) -> None:
    """Only lost engines count: no release for other reasons, and nobody else's loss."""
    await database.insert()
    [first] = await claim(store)
    await finish(store, first, Released("drained"))
    [second] = await claim(store)
    await finish(store, second, LOST)
    await database.insert()
    later = await claim(store, count=2)

    assert (first.engine_losses, second.engine_losses) == (0, 0)
    assert {job.id == first.id: (job.engine_losses, job.attempt) for job in later} == {
        True: (1, 1),
        False: (0, 1),
    }


async def test_a_second_lost_engine_is_seen_in_the_run(
    store: JobStore, database: JobsDatabase
) -> None:
    """A failure says whether it was the engine's end; other ends say nothing of the kind."""
    lost = await database.insert()
    [job] = await claim(store)
    await finish(store, job, Failed("signal 9", ErrorCode.GENERATION_FAILED, engine_lost=True))
    other = await database.insert()
    [job] = await claim(store)
    await finish(store, job, Retry("away", ErrorCode.NETWORK_ERROR, 1.0))

    assert [run["engine_lost"] for run in await database.runs(lost)] == [True]
    assert (await database.row(lost))["status"] == "failed"
    assert [run["engine_lost"] for run in await database.runs(other)] == [False]


async def test_a_claim_tells_how_long_a_job_was_due(
    store: JobStore, database: JobsDatabase
) -> None:
    """From its insert, or from when a delayed one, or one that came back, may run."""
    await database.insert("chat", priority=7)
    await database.insert("enhance", run_after=NOON + timedelta(seconds=5))
    await database.pass_time(20)

    [plain] = await claim(store, "chat")
    [delayed] = await claim(store, "enhance")
    await finish(store, plain, Released("drained"))
    await database.pass_time(30)
    [again] = await claim(store, "chat")

    assert (plain.queued_s, plain.priority) == (20.0, 7)
    assert (delayed.queued_s, delayed.priority) == (15.0, 0)
    assert again.queued_s == 30.0


async def test_a_job_of_the_future_was_never_due_for_less_than_nothing(
    store: JobStore, database: JobsDatabase
) -> None:
    """A backend whose clock goes ahead writes such times."""
    await database.insert(created_at=NOON + timedelta(hours=1))

    [job] = await claim(store)

    assert job.queued_s == 0.0


async def test_a_claim_asked_again_tells_the_same(store: JobStore, database: JobsDatabase) -> None:
    """A lost answer doesn't make a job older, nor forget what it lost."""
    await database.insert(priority=3)
    [job] = await claim(store)
    await finish(store, job, LOST)
    await database.pass_time(8)
    request, demand = uuid4(), [Demand(("chat",), 1)]

    [first] = await store.claim(WORKER, request, demand, LEASE_S)
    await database.pass_time(5)
    [again] = await store.claim(WORKER, request, demand, LEASE_S)

    assert first == again
    assert (again.queued_s, again.engine_losses, again.priority) == (8.0, 1, 3)
