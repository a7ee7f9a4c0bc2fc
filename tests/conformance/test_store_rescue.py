"""What dead workers, owners and strangers do to a claimed job, on every store."""

from uuid import UUID

import pytest
from jobs_database import ALICE, BOB, NOON, JobsDatabase
from worker_calls import LEASE_S, WORKER, claim, finish

from daemon.jobs import Cancelled, Completed, Finish, LeaseState, Progress, Recorded, Released
from daemon.ports import JobStore
from daemon.values import SweepResult, WorkerIdentity

pytestmark = pytest.mark.asyncio(loop_scope="session")

SUCCESSOR = WorkerIdentity("host:7861", UUID(int=2))
OTHER = WorkerIdentity("other:7861", UUID(int=3))


async def test_sweep_takes_back_expired_leases_only(
    store: JobStore, database: JobsDatabase
) -> None:
    """A lease that was renewed stays; one that ran out is queued again and counted."""
    dead_id, _ = await database.insert(), await database.insert()
    dead, alive = await claim(store, count=2)
    await database.pass_time(11)
    await store.renew([alive.claim_id], LEASE_S)
    await database.pass_time(1)

    result = await store.sweep(OTHER)

    row = await database.row(dead_id)
    [run] = await database.runs(dead_id)
    assert SweepResult(rescued=1, failed=0, next_due_s=11.0) == result
    assert dead_id == dead.id
    assert (row["status"], row["attempts"], row["started_at"]) == ("queued", 1, None)
    assert run["outcome"] == "expired"
    assert [job.attempt for job in await claim(store, worker=OTHER)] == [2]


async def test_job_whose_workers_die_is_failed_in_the_end(
    store: JobStore, database: JobsDatabase
) -> None:
    """A job that stops every worker isn't started for ever; the row says what happened."""
    job_id = await database.insert()
    for _ in range(3):
        await claim(store)
        await database.pass_time(60)
        result = await store.sweep(WORKER)

    row = await database.row(job_id)
    assert SweepResult(rescued=0, failed=1, next_due_s=None) == result
    assert (
        row["status"],
        row["error_code"],
        row["error"],
    ) == ("failed", "GENERATION_FAILED", "the worker stopped 3 times while running this job")


async def test_successor_takes_back_what_its_predecessor_held(
    store: JobStore, database: JobsDatabase
) -> None:
    """After a restart nobody waits for the lease; other workers' claims stay theirs."""
    for _ in range(3):
        await database.insert()
    [old] = await claim(store, worker=WORKER)
    [new] = await claim(store, worker=SUCCESSOR)
    [others] = await claim(store, worker=OTHER)

    untold = await store.sweep(SUCCESSOR)
    told = await store.sweep(SUCCESSOR, predecessor=True)

    states = await store.renew([old.claim_id, new.claim_id, others.claim_id], LEASE_S)
    assert (untold.rescued, told.rescued) == (0, 1)
    assert [states[job.claim_id] for job in (old, new, others)] == [
        LeaseState.LOST,
        LeaseState.HELD,
        LeaseState.HELD,
    ]


async def test_sweep_is_bounded(store: JobStore, database: JobsDatabase) -> None:
    """No sweep locks more than 100 rows; it says that the next is due at once."""
    for _ in range(130):
        await database.insert()
    await claim(store, count=130)
    await database.pass_time(60)

    first, second = await store.sweep(OTHER), await store.sweep(OTHER)

    assert SweepResult(rescued=100, failed=0, next_due_s=0.0) == first
    assert SweepResult(rescued=30, failed=0, next_due_s=None) == second


async def test_sweep_says_when_a_delayed_job_is_due(
    store: JobStore, database: JobsDatabase
) -> None:
    """The nearest of leases and delays counts; nothing in sight is None."""
    assert (await store.sweep(WORKER)).next_due_s is None
    await database.insert(run_after=NOON.replace(minute=1))
    assert (await store.sweep(WORKER)).next_due_s == 60.0


async def test_unknown_job_type_from_before_the_check_is_failed(
    store: JobStore, database: JobsDatabase
) -> None:
    """Nobody would ever claim it: the row says so."""
    job_id = await database.insert("chat")
    await database.owner.execute("update jobs set job_type = 'paint' where id = $1", job_id)

    result = await store.sweep(WORKER)

    row = await database.row(job_id)
    assert result.failed == 1
    assert (
        row["status"],
        row["error"],
        row["error_code"],
    ) == ("failed", 'unknown job type "paint"', "INVALID_PROMPT")


@pytest.mark.parametrize("how", ["rpc", "update"])
async def test_cancelled_job_stops_at_the_next_report(
    store: JobStore, database: JobsDatabase, how: str
) -> None:
    """The row is cancelled at once; the worker hears of it twice over, and ends its run."""
    job_id = await database.insert(user_id=ALICE)
    [job] = await claim(store)
    async with database.session("authenticated", ALICE) as browser:
        if how == "rpc":
            assert await browser.fetchval("select cancel_job($1)", job_id) == "cancelled"
        else:
            await browser.execute("update jobs set status = 'cancelled' where id = $1", job_id)
    row = await database.row(job_id)

    renewed = await store.renew([job.claim_id], LEASE_S)
    reported = await store.progress([Progress(job.claim_id, 50, "step")])
    ended = await finish(store, job, Cancelled())

    [run] = await database.runs(job_id)
    assert (
        row["status"],
        row["cancel_requested_at"],
        row["completed_at"],
    ) == ("cancelled", NOON, NOON)
    assert {job.claim_id: LeaseState.CANCELLED} == renewed == reported
    assert (ended, run["outcome"]) == (Recorded.RECORDED, "cancelled")
    assert row == await database.row(job_id)


@pytest.mark.parametrize("outcome", [Completed({"response": "late"}), Released("drained")])
async def test_outcome_of_a_cancelled_job_is_thrown_away(
    store: JobStore, database: JobsDatabase, outcome: Completed | Released
) -> None:
    """Cancelled stays cancelled, and the run that didn't know is ended."""
    job_id = await database.insert()
    [job] = await claim(store)
    await database.owner.execute("select cancel_job($1)", job_id)

    assert await finish(store, job, outcome) == Recorded.STALE

    row = await database.row(job_id)
    [run] = await database.runs(job_id)
    assert (row["status"], row["result"], run["outcome"]) == ("cancelled", None, "cancelled")


async def test_cancelled_job_of_a_dead_worker_is_closed_by_the_sweep(
    store: JobStore, database: JobsDatabase
) -> None:
    """Nobody queues it again; a late word of its worker is still accepted."""
    job_id = await database.insert()
    [job] = await claim(store)
    await database.owner.execute("select cancel_job($1)", job_id)
    await database.pass_time(60)

    result = await store.sweep(OTHER)

    assert SweepResult(rescued=0, failed=0, next_due_s=None) == result
    assert (await database.row(job_id))["status"] == "cancelled"
    assert await finish(store, job, Cancelled()) == Recorded.RECORDED


async def test_row_deleted_while_it_runs_is_lost(store: JobStore, database: JobsDatabase) -> None:
    """Nothing raises, and the others of the batch are recorded."""
    deleted_id, _ = await database.insert(), await database.insert()
    jobs = {job.id: job for job in await claim(store, count=2)}
    deleted = jobs.pop(deleted_id)
    [kept] = jobs.values()
    await database.owner.execute("delete from jobs where id = $1", deleted_id)

    renewed = await store.renew([deleted.claim_id, kept.claim_id], LEASE_S)
    reported = await store.progress([Progress(deleted.claim_id, 50, "step")])
    ended = await store.finish(
        [Finish(deleted.claim_id, Completed({})), Finish(kept.claim_id, Completed({}))]
    )

    assert {deleted.claim_id: LeaseState.LOST, kept.claim_id: LeaseState.HELD} == renewed
    assert {deleted.claim_id: LeaseState.LOST} == reported
    assert {deleted.claim_id: Recorded.STALE, kept.claim_id: Recorded.RECORDED} == ended


async def test_job_queued_again_from_outside_leaves_its_worker(
    store: JobStore, database: JobsDatabase
) -> None:
    """An operator may put any job back; the run that held it is lost, and a new one may start."""
    job_id = await database.insert()
    [old] = await claim(store)
    await database.owner.execute("update jobs set status = 'queued' where id = $1", job_id)
    [new] = await claim(store, worker=OTHER)

    assert await finish(store, old, Completed({"who": "old"})) == Recorded.STALE
    assert await finish(store, new, Completed({"who": "new"})) == Recorded.RECORDED
    await database.owner.execute("update jobs set status = 'queued' where id = $1", job_id)

    row = await database.row(job_id)
    assert (
        row["status"],
        row["attempts"],
        row["result"],
        row["progress"],
    ) == ("queued", 0, None, 0)


async def test_hostile_metadata_costs_only_its_own_job(
    store: JobStore, database: JobsDatabase
) -> None:
    """Nesting and numbers that JSON readers choke on don't hide the other jobs of a claim."""
    deep, big = "[" * 3000 + "]" * 3000, "1" * 5000
    for user, metadata in ((ALICE, deep), (BOB, f'{{"seed": {big}}}'), (None, '{"prompt": "x"}')):
        await database.insert(user_id=user, metadata=metadata)

    requests = {job.user_id: job.request for job in await claim(store, count=3)}

    assert isinstance(requests[ALICE], str)
    assert {"seed": float("inf")} == requests[BOB]
    assert requests[None] == {"prompt": "x"}
