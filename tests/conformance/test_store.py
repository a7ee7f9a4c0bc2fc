"""Claim, renew, progress, finish and release, on every store."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from jobs_database import ALICE, BOB, NOON, JobsDatabase

from daemon.job_types import JOB_TYPES
from daemon.jobs import (
    Cancelled,
    Completed,
    ErrorCode,
    Failed,
    Finish,
    Job,
    LeaseState,
    Outcome,
    Progress,
    Recorded,
    Released,
    Retry,
)
from daemon.ports import Backlog, Demand, JobStore, WorkerIdentity

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORKER = WorkerIdentity("host:7861", UUID(int=1))
LEASE_S = 12.0
EVERYTHING = tuple(JOB_TYPES)


async def claim(store: JobStore, *job_types: str, count: int = 1) -> list[Job]:
    demand = Demand(job_types or EVERYTHING, count)
    return await store.claim(WORKER, uuid4(), [demand], LEASE_S)


async def finish(store: JobStore, job: Job, outcome: Outcome) -> Recorded:
    return (await store.finish([Finish(job.claim_id, outcome, {"run": 1.5})]))[job.claim_id]


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


async def test_completed_job_shows_its_result(store: JobStore, database: JobsDatabase) -> None:
    """The result is in the row together with `completed`; the run keeps the timings."""
    job_id = await database.insert()
    [job] = await claim(store)
    await database.pass_time(3)

    assert await finish(store, job, Completed({"response": "a lake"})) == Recorded.RECORDED

    row = await database.row(job_id)
    [run] = await database.runs(job_id)
    assert ("completed", {"response": "a lake"}, 100, None, NOON + timedelta(seconds=3)) == (
        row["status"], json.loads(row["result"]), row["progress"], row["error"],
        row["completed_at"],
    )  # fmt: skip
    assert (run["outcome"], json.loads(run["timings"])) == ("completed", {"run": 1.5})


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("nul \0 inside", "nul \ufffd inside"),
        ("half a pair \ud83d", "half a pair ?"),
        (float("nan"), None),
        (float("inf"), None),
        pytest.param(10**400, 10**400, id="long integer"),
        ({"a\0b": {1: (2, 3)}}, {"a\ufffdb": {"1": [2, 3]}}),
        ("\\u0000 as text", "\\u0000 as text"),
    ],
)
async def test_no_character_or_number_costs_a_result(
    store: JobStore, database: JobsDatabase, written: Any, stored: Any
) -> None:
    """What jsonb can't hold is replaced; the job is completed all the same."""
    job_id = await database.insert()
    [job] = await claim(store)

    assert await finish(store, job, Completed({"text": written})) == Recorded.RECORDED
    assert {"text": stored} == json.loads((await database.row(job_id))["result"])


async def test_failed_job_shows_error_and_code(store: JobStore, database: JobsDatabase) -> None:
    """A failure ends the job, whatever attempts are left."""
    job_id = await database.insert()
    [job] = await claim(store)

    await finish(store, job, Failed("VRAM out of memory\0", ErrorCode.VRAM_OVERFLOW))

    row = await database.row(job_id)
    assert (
        row["status"], row["error"], row["error_code"]
    ) == ("failed", "VRAM out of memory\ufffd", "VRAM_OVERFLOW")  # fmt: skip
    assert await claim(store) == []


async def test_retried_job_waits_and_fails_with_its_last_attempt(
    store: JobStore, database: JobsDatabase
) -> None:
    """A retry is delayed and counted; without an attempt left it is a failure."""
    job_id = await database.insert(max_attempts=2)
    retry = Retry("storage is away", ErrorCode.NETWORK_ERROR, 4.0)

    [first] = await claim(store)
    assert await finish(store, first, retry) == Recorded.RECORDED
    waiting = await database.row(job_id)
    assert await claim(store) == []
    await database.pass_time(4)
    [second] = await claim(store)
    running = await database.row(job_id)
    assert await finish(store, second, retry) == Recorded.RECORDED
    assert await finish(store, second, retry) == Recorded.RECORDED

    ended = await database.row(job_id)
    assert ("queued", "storage is away", NOON + timedelta(seconds=4)) == (
        waiting["status"], waiting["error"], waiting["run_after"]
    )  # fmt: skip
    assert (second.attempt, running["error"], running["error_code"]) == (2, None, None)
    assert (
        ended["status"], ended["error"], ended["error_code"]
    ) == ("failed", "storage is away", "NETWORK_ERROR")  # fmt: skip
    assert [run["outcome"] for run in await database.runs(job_id)] == ["retried", "failed"]


async def test_released_job_is_not_counted_and_keeps_its_place(
    store: JobStore, database: JobsDatabase
) -> None:
    """A worker that drains gives jobs back as if it had never had them."""
    job_id = await database.insert(user_id=ALICE)
    await database.insert(user_id=ALICE)
    [job] = await claim(store)
    before = (await database.row(job_id))["fair_tag"]

    assert await finish(store, job, Released("drained")) == Recorded.RECORDED

    row = await database.row(job_id)
    [again] = await claim(store)
    assert ("queued", 0, before, None) == (
        row["status"], row["attempts"], row["fair_tag"], row["started_at"]
    )  # fmt: skip
    assert (job_id, 1) == (again.id, again.attempt)
    assert job.claim_id != again.claim_id


@pytest.mark.parametrize(
    "outcome",
    [
        Completed({"response": "a lake"}),
        Failed("broken", ErrorCode.GENERATION_FAILED),
        Retry("away", ErrorCode.NETWORK_ERROR, 0),
        Cancelled(),
        Released("drained"),
    ],
)
async def test_finish_asked_again_is_recorded_and_writes_nothing(
    store: JobStore, database: JobsDatabase, outcome: Outcome
) -> None:
    """A finish whose answer was lost may be sent again, also when the job went on meanwhile."""
    job_id = await database.insert()
    [job] = await claim(store)

    first = await finish(store, job, outcome)
    await claim(store)
    before = await database.row(job_id)
    again = await finish(store, job, outcome)

    assert (first, again) == (Recorded.RECORDED, Recorded.RECORDED)
    assert before == await database.row(job_id)


async def test_stale_claim_changes_nothing(store: JobStore, database: JobsDatabase) -> None:
    """After a rescue the old claim is lost for renewal, progress and every outcome."""
    job_id = await database.insert()
    [stale] = await claim(store)
    await database.pass_time(60)
    await store.sweep(WORKER)
    [owner] = await claim(store)
    before = await database.row(job_id)

    assert {stale.claim_id: LeaseState.LOST} == await store.renew([stale.claim_id], LEASE_S)
    assert {stale.claim_id: LeaseState.LOST} == await store.progress(
        [Progress(stale.claim_id, 50, "step")]
    )
    for outcome in (
        Completed({}),
        Failed("x", ErrorCode.GENERATION_FAILED),
        Retry("x", ErrorCode.NETWORK_ERROR, 0),
        Cancelled(),
        Released("x"),
    ):
        assert await finish(store, stale, outcome) == Recorded.STALE

    assert before == await database.row(job_id)
    assert await finish(store, owner, Completed({})) == Recorded.RECORDED


async def test_batch_holds_every_kind_of_outcome(store: JobStore, database: JobsDatabase) -> None:
    """One call records a mixed batch and answers for each claim, unknown ones too."""
    for _ in range(6):
        await database.insert()
    jobs = await claim(store, count=5)
    outcomes: list[Outcome] = [
        Completed({"n": 1}),
        Failed("x", ErrorCode.INVALID_PROMPT),
        Retry("y", ErrorCode.DATABASE_ERROR, 1.0),
        Cancelled(),
        Released("z"),
    ]
    unknown = uuid4()
    batch = [Finish(job.claim_id, outcome) for job, outcome in zip(jobs, outcomes, strict=True)]

    answers = await store.finish([*batch, Finish(unknown, Completed({}))])

    expected = {job.claim_id: Recorded.RECORDED for job in jobs} | {unknown: Recorded.STALE}
    statuses = [(await database.row(job.id))["status"] for job in jobs]
    assert expected == answers
    assert statuses == ["completed", "failed", "queued", "cancelled", "queued"]


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
