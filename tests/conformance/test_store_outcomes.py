"""Every outcome of a run, once and again, on every store."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from jobs_database import ALICE, NOON, JobsDatabase
from worker_calls import LEASE_S, WORKER, claim, finish

from daemon.jobs import (
    Cancelled,
    Completed,
    ErrorCode,
    Failed,
    Finish,
    LeaseState,
    Outcome,
    Progress,
    Recorded,
    Released,
    Retry,
)
from daemon.ports import JobStore

pytestmark = pytest.mark.asyncio(loop_scope="session")


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
