"""Rows as the HTTP API asks for them, on every store."""

import asyncio
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from jobs_database import ALICE, NOON, JobsDatabase
from worker_calls import claim

from daemon.job_rows import JobRow, NewJob, Submitted
from daemon.jobs import Completed, ErrorCode, Failed, Finish, LeaseState, Progress
from daemon.observed import ObservedStore
from daemon.ports import Database
from daemon.values import StoreRejectedError, StoreUnavailableError

pytestmark = pytest.mark.asyncio(loop_scope="session")


def new_job(**changes: object) -> NewJob:
    facts: dict[str, object] = {
        "id": uuid4(),
        "job_type": "chat",
        "metadata": {"prompt": "a lake"},
        "user_id": ALICE,
        "fingerprint": "f",
    }
    return NewJob(**{**facts, **changes})  # type: ignore[arg-type]


async def test_a_submitted_job_is_claimed_with_its_request(
    store: Database, database: JobsDatabase
) -> None:
    """What was asked for arrives at the worker as it was written, whatever its characters."""
    metadata = {"prompt": "ein See \u2600", "nested": [1.5, None, {"a": True}]}
    job = new_job(metadata=metadata)

    answer = await store.submit(job)

    [claimed] = await claim(store)
    assert answer == Submitted(created=True, same=True, status="queued")
    assert (claimed.id, claimed.user_id, claimed.job_type) == (job.id, ALICE, "chat")
    assert (claimed.request, claimed.priority) == (metadata, 0)


async def test_what_the_database_cannot_hold_is_made_fit(
    store: Database, database: JobsDatabase
) -> None:
    """A NUL or half a surrogate pair in a prompt is no reason to refuse the request."""
    await store.submit(new_job(metadata={"prompt": "a\0b\ud83d", "x": float("nan")}))

    [claimed] = await claim(store)
    assert claimed.request == {"prompt": "a\ufffdb?", "x": None}


async def test_a_repeat_is_the_same_job(store: Database, database: JobsDatabase) -> None:
    """And another request under its id is told apart."""
    job = new_job()
    await store.submit(job)
    [claimed] = await claim(store)
    await store.finish([Finish(claimed.claim_id, Completed({"response": "hi"}))])

    again = await store.submit(job)
    other = await store.submit(new_job(id=job.id, fingerprint="g"))

    assert again == Submitted(created=False, same=True, status="completed")
    assert other == Submitted(created=False, same=False, status="completed")


async def test_twins_add_one_row(store: Database, database: JobsDatabase) -> None:
    """Ten requests with the same id at once: one is new, and all hear of the same job."""
    job = new_job(user_id=None)

    answers = await asyncio.gather(*(store.submit(job) for _ in range(10)))

    assert sum(answer.created for answer in answers) == 1
    assert all(answer.same for answer in answers)
    assert await database.owner.fetchval("select count(*) from jobs") == 1


async def test_a_refused_row_is_a_refusal(store: Database, database: JobsDatabase) -> None:
    """Waiting doesn't make a request smaller."""
    with pytest.raises(StoreRejectedError, match="the limit is"):
        await store.submit(new_job(metadata={"prompt": "x" * 600_000}))

    assert await database.owner.fetchval("select count(*) from jobs") == 0


async def test_a_row_is_read_through_its_life(store: Database, database: JobsDatabase) -> None:
    """Queued, under way, completed: each field as the row has it."""
    job = new_job(job_type="sdxl_image_fast")
    await store.submit(job)
    queued = JobRow(
        id=job.id, job_type="sdxl_image_fast", status="queued", progress=0, current_step=None,
        estimated_completion=None, result=None, error=None, error_code=None, attempts=0,
        max_attempts=3, created_at=NOON, started_at=None, completed_at=None,
    )  # fmt: skip
    assert await store.look([job.id]) == {job.id: queued}

    await database.pass_time(5)
    [claimed] = await claim(store, "sdxl_image_fast")
    expected = NOON + timedelta(seconds=60)
    so_far = {"wake_up": 0.25, "queue": 4.75, "run": 3.5}
    report = Progress(claimed.claim_id, 45, "generating_image", expected, lambda: so_far)
    await store.progress([report])
    running = (await store.look([job.id]))[job.id]
    assert (running.status, running.progress, running.current_step, running.attempts) == (
        "processing", 45, "generating_image", 1
    )  # fmt: skip
    assert (running.estimated_completion, running.started_at) == (
        expected,
        NOON + timedelta(seconds=5),
    )
    assert isinstance(running.started_at, datetime)
    assert running.timings == so_far
    assert not running.finished

    result = {"image_url": "https://x/y.png", "metadata": {"seed": 2**60, "f": 1.5}}
    whole = so_far | {"run": 5.125}
    # What isn't part of the sum stays in the run alone.
    timings = whole | {"waiting": 5.0, "engine_decode": 1.0}
    await store.finish([Finish(claimed.claim_id, Completed(result), timings)])
    done = (await store.look([job.id]))[job.id]
    assert (done.status, done.progress, done.result, done.finished) == (
        "completed", 100, result, True
    )  # fmt: skip
    assert done.completed_at == NOON + timedelta(seconds=5)
    assert done.timings == whole


async def test_an_error_is_read_with_its_code(store: Database, database: JobsDatabase) -> None:
    """As "Failed job" has it."""
    job = new_job()
    await store.submit(job)
    [claimed] = await claim(store)
    await store.finish(
        [Finish(claimed.claim_id, Failed("VRAM out of memory", ErrorCode.VRAM_OVERFLOW))]
    )

    row = (await store.look([job.id]))[job.id]

    assert (row.status, row.error, row.error_code, row.result) == (
        "failed", "VRAM out of memory", "VRAM_OVERFLOW", None
    )  # fmt: skip


async def test_many_rows_are_one_look(store: Database, database: JobsDatabase) -> None:
    """Those that don't exist are left out; nothing asked for is nothing found."""
    ids = [await database.insert() for _ in range(3)]

    found = await store.look([*ids, uuid4(), ids[0]])

    assert set(found) == set(ids)
    assert await store.look([]) == {}


async def test_cancelling_says_how_the_job_stands(store: Database, database: JobsDatabase) -> None:
    """Waiting and running jobs are cancelled, ended ones say how, unknown ones are None."""
    waiting = await database.insert("video_fast")
    running = await database.insert("chat")
    [claimed] = await claim(store)

    assert [await store.cancel(waiting), await store.cancel(running)] == ["cancelled"] * 2
    assert await store.cancel(running) == "cancelled"
    assert await store.renew([claimed.claim_id], 12) == {claimed.claim_id: LeaseState.CANCELLED}
    assert await store.cancel(uuid4()) is None

    done = await database.insert("enhance")
    [claimed] = await claim(store, "enhance")
    await store.finish([Finish(claimed.claim_id, Completed({}))])
    assert await store.cancel(done) == "completed"


async def test_a_watched_store_counts_these_calls_too(
    store: Database, database: JobsDatabase
) -> None:
    """Each under its name, and an outage by its kind."""
    seen: list[tuple[str, str | None]] = []
    watched = ObservedStore(store, lambda name, _, failure: seen.append((name, failure)))
    job = new_job()
    await watched.submit(job)
    assert await watched.cancel(job.id) == "cancelled"
    await watched.aclose()

    with pytest.raises(StoreUnavailableError):
        await watched.look([job.id])
    assert seen == [("submit", None), ("cancel", None), ("look", "unavailable")]
