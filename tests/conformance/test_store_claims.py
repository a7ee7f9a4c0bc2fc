"""Claim, renew and progress, on every store."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from jobs_database import ALICE, BOB, NOON, JobsDatabase
from worker_calls import LEASE_S, WORKER, claim

from daemon.jobs import (
    Completed,
    Finish,
    Job,
    LeaseState,
    Progress,
)
from daemon.ports import JobStore
from daemon.values import Backlog, Demand, QueueForecast

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_schema_of_a_migrated_database_is_accepted(store: JobStore) -> None:
    """The worker's role may ask for the schema's version, and it fits."""
    await store.check_schema()


async def test_claimed_job_carries_what_its_author_wrote(
    store: JobStore, database: JobsDatabase
) -> None:
    """Everything that a run needs comes with the claim; the row says that it is in work."""
    metadata = {"prompt": "ein See am Abend \u2600 \U0001f305", "steps": 20, "nested": [1.5, None]}
    job_id = await database.insert("sdxl_image_fast", user_id=ALICE, metadata=metadata)

    [job] = await claim(store)

    expected = Job(
        id=job_id, user_id=ALICE, job_type="sdxl_image_fast", request=metadata,
        claim_id=job.claim_id, attempt=1, max_attempts=3, created_at=NOON, original_prompt=None,
    )  # fmt: skip
    row = await database.row(job_id)
    [run] = await database.runs(job_id)
    assert job.created_at == row["created_at"]
    assert expected == replace(job, created_at=NOON)
    assert (row["status"], row["attempts"], row["started_at"]) == ("processing", 1, NOON)
    assert (job.claim_id, WORKER.worker_id, WORKER.instance_id, NOON + timedelta(seconds=12)) == (
        run["claim_id"], run["worker_id"], run["instance_id"], run["lease_expires_at"]
    )  # fmt: skip


async def test_claim_asked_again_gives_the_same_claims(
    store: JobStore, database: JobsDatabase
) -> None:
    """A caller whose answer was lost gets the same jobs under the same claims, once counted."""
    for _ in range(3):
        await database.insert()
    request, demand = uuid4(), [Demand(("chat",), 2)]

    first = await store.claim(WORKER, request, demand, LEASE_S)
    again = await store.claim(WORKER, request, demand, LEASE_S)

    assert len(first) == 2
    assert first == again
    assert [(await database.row(job.id))["attempts"] for job in again] == [1, 1]


async def test_request_that_was_served_claims_nothing_more(
    store: JobStore, database: JobsDatabase
) -> None:
    """A late repeat of a request whose jobs are done opens no runs that nobody waits for."""
    for _ in range(2):
        await database.insert()
    request, demand = uuid4(), [Demand(("chat",), 1)]
    [job] = await store.claim(WORKER, request, demand, LEASE_S)
    await store.finish([Finish(job.claim_id, Completed({}))])

    assert await store.claim(WORKER, request, demand, LEASE_S) == []
    assert len(await claim(store)) == 1


async def test_same_request_sent_twice_at_once_claims_once(
    store: JobStore, database: JobsDatabase
) -> None:
    """A request that is sent again while the first is still running doesn't claim beside it."""
    for _ in range(20):
        await database.insert()
    request, demand = uuid4(), [Demand(("chat",), 5)]

    answers = await asyncio.gather(
        *(store.claim(WORKER, request, demand, LEASE_S) for _ in range(6))
    )

    assert all(answers[0] == answer for answer in answers)
    assert await database.owner.fetchval("select count(*) from job_runs") == 5


async def test_no_job_is_claimed_twice(store: JobStore, database: JobsDatabase) -> None:
    """Eight claimers at once empty the queue; each job goes to one of them."""
    ids = {await database.insert(user_id=UUID(int=number % 7)) for number in range(200)}

    async def claim_all() -> list[Job]:
        mine: list[Job] = []
        while jobs := await claim(store, "chat", count=7):
            mine += jobs
        return mine

    claimed = [
        job for jobs in await asyncio.gather(*(claim_all() for _ in range(8))) for job in jobs
    ]

    assert len(claimed) == 200
    assert ids == {job.id for job in claimed}
    assert len({job.claim_id for job in claimed}) == 200


async def test_demands_are_served_each_by_its_count(
    store: JobStore, database: JobsDatabase
) -> None:
    """Of each demand's job types at most its count is taken, and nothing else."""
    for job_type in ("chat", "chat", "enhance", "video_fast", "video_fast", "sdxl_image_high"):
        await database.insert(job_type)

    jobs = await store.claim(
        WORKER, uuid4(), [Demand(("chat", "enhance"), 2), Demand(("video_fast",), 1)], LEASE_S
    )

    assert sum(job.job_type in {"chat", "enhance"} for job in jobs) == 2
    assert sum(job.job_type == "video_fast" for job in jobs) == 1
    assert len(jobs) == 3


async def test_nothing_is_claimed_that_is_not_due(store: JobStore, database: JobsDatabase) -> None:
    """A delayed job waits for its time."""
    await database.insert(run_after=NOON + timedelta(seconds=30))

    assert await claim(store) == []
    await database.pass_time(30)
    assert len(await claim(store)) == 1


async def test_higher_priority_goes_first(store: JobStore, database: JobsDatabase) -> None:
    """Priority comes before the fair order."""
    plain = await database.insert()
    urgent = await database.insert(priority=5)

    assert [urgent, plain] == [job.id for job in await claim(store, count=2)]


async def test_users_take_turns(store: JobStore, database: JobsDatabase) -> None:
    """Whoever queued a hundred jobs first doesn't hold up another user's first job."""
    many = [await database.insert(user_id=ALICE) for _ in range(100)]
    await database.pass_time(1)
    single = await database.insert(user_id=BOB)

    claimed = [job.id for job in await claim(store, count=3)]

    assert many[0] == claimed[0]
    assert single in claimed


async def test_renewed_lease_is_held(store: JobStore, database: JobsDatabase) -> None:
    """A renewal counts from now; it costs no change event of the published table."""
    job_id = await database.insert()
    [job] = await claim(store)
    before = await database.owner.fetchval("select xmin::text from jobs where id = $1", job_id)
    await database.pass_time(5)

    states = await store.renew([job.claim_id, UUID(int=99)], LEASE_S)

    [run] = await database.runs(job_id)
    after = await database.owner.fetchval("select xmin::text from jobs where id = $1", job_id)
    assert {job.claim_id: LeaseState.HELD, UUID(int=99): LeaseState.LOST} == states
    assert NOON + timedelta(seconds=17) == run["lease_expires_at"]
    assert before == after


async def test_expired_lease_may_be_renewed_until_it_is_rescued(
    store: JobStore, database: JobsDatabase
) -> None:
    """Work that nobody took over isn't thrown away for a late renewal."""
    await database.insert()
    [job] = await claim(store)
    await database.pass_time(60)

    assert {job.claim_id: LeaseState.HELD} == await store.renew([job.claim_id], LEASE_S)
    assert (await store.sweep(WORKER)).rescued == 0


async def test_progress_is_written_only_when_it_says_something_new(
    store: JobStore, database: JobsDatabase
) -> None:
    """Each write is an event for all who watch: the same report twice is one."""
    job_id = await database.insert()
    [job] = await claim(store)
    end = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
    report = Progress(job.claim_id, 145, "denoising \0 4/9", end)

    states = await store.progress([report])
    row = await database.row(job_id)
    first = await database.owner.fetchval("select xmin::text from jobs where id = $1", job_id)
    await store.progress([report])
    second = await database.owner.fetchval("select xmin::text from jobs where id = $1", job_id)

    assert {job.claim_id: LeaseState.HELD} == states
    assert (100, "denoising \ufffd 4/9", end) == (
        row["progress"], row["current_step"], row["estimated_completion"]
    )  # fmt: skip
    assert first == second


async def test_empty_calls_are_allowed(store: JobStore, database: JobsDatabase) -> None:
    """Nothing to do is no error."""
    assert await store.renew([], LEASE_S) == {}
    assert await store.progress([]) == {}
    assert await store.finish([]) == {}
    assert await store.claim(WORKER, uuid4(), [], LEASE_S) == []


async def test_queue_summary_counts_by_job_type(store: JobStore, database: JobsDatabase) -> None:
    """Queued, processing, and the age of the oldest that could run."""
    await database.insert("chat", created_at=NOON - timedelta(seconds=90), run_after=NOON)
    await database.pass_time(30)
    await database.insert("chat")
    await database.insert("video_high", run_after=database.now + timedelta(hours=1))
    await database.insert("wan_image_fast")
    await claim(store, "wan_image_fast")

    assert [
        Backlog("chat", 2, 0, 30.0),
        Backlog("video_high", 1, 0, None),
        Backlog("wan_image_fast", 0, 1, None),
    ] == await store.queue_summary()


async def test_queued_rows_are_foretold(store: JobStore, database: JobsDatabase) -> None:
    """By a forecast, once within the time between two; the claim says what is left of it."""
    await database.owner.execute("truncate ourvidz.forecasts, ourvidz.foretold")
    await database.insert("chat")
    await database.pass_time(10)
    forecasts = [QueueForecast(("chat", "enhance", "generate"), (30.04,), None)]

    assert await store.foretell("w", forecasts, 25, 2.0) == 1
    assert await store.foretell("w", [], 25, 2.0) == 0
    await database.pass_time(10)
    [job] = await claim(store)
    assert job.foretold_s == 20


async def test_a_claim_says_how_long_ago_its_hint_was_due(
    store: JobStore, database: JobsDatabase
) -> None:
    """Only of jobs that a source announces: none does when a job becomes due by time alone."""
    await database.insert("chat")
    await database.insert("sdxl_image_fast", run_after=NOON + timedelta(seconds=5))
    await database.pass_time(20)

    [announced] = await claim(store, "chat")
    [delayed] = await claim(store, "sdxl_image_fast")

    assert (announced.hinted_s, delayed.hinted_s) == (20.0, None)


async def test_a_job_that_was_claimed_before_has_no_hint_to_wait_for(
    store: JobStore, database: JobsDatabase
) -> None:
    """A retry becomes due by time, a rescue is made by who claims it next."""
    await database.insert("chat")
    await claim(store, "chat")
    await database.pass_time(LEASE_S + 1)
    await store.sweep(WORKER)

    [rescued] = await claim(store, "chat")

    assert (rescued.attempt, rescued.hinted_s) == (2, None)


async def test_canaries_count_up_and_are_shared(store: JobStore) -> None:
    """One that is young enough does for everybody."""
    first = await store.beat_canary(0.0)
    second = await store.beat_canary(0.0)
    same = await store.beat_canary(3600.0)

    assert second.serial == first.serial + 1
    assert same.serial == second.serial
    assert 0 <= second.age_s < 5
    assert isinstance(second.broadcast, bool)
