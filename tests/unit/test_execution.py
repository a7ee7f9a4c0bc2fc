"""A held job's way to its outcome, with every other part scripted."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from execution_bench import PICTURE, Bench
from scripted import a_job

from daemon.job_run import JobRun
from daemon.job_types import JOB_TYPES
from daemon.jobs import (
    Cancelled,
    Completed,
    ErrorCode,
    Failed,
    JobError,
    LeaseState,
    Recorded,
    Released,
    Retry,
)
from daemon.values import EngineLostError, RunOutput, StepReport, StoreRejectedError
from daemon.wishes import request_of


def raises(error: Exception) -> Callable[..., Awaitable[Any]]:
    async def run(*_: Any) -> Any:
        raise error

    return run


async def makes_a_picture(*_: Any) -> RunOutput:
    return PICTURE


async def test_a_result_names_its_files_and_is_recorded() -> None:
    """The artifact is stored first; the row gets its URL, bucket and path."""
    bench = Bench(makes_a_picture)

    outcome = await bench.carry()

    assert isinstance(outcome, Completed)
    assert outcome.result["metadata"] == {"seed": 1}
    assert outcome.result["image_url"].startswith("memory:")
    assert [artifact["size"] for artifact in outcome.result["artifacts"]] == [3]
    assert len(bench.artifacts.files) == 1
    assert bench.leases.held == 0


@pytest.mark.parametrize(
    ("error", "attempt", "expected"),
    [
        (
            JobError(ErrorCode.INVALID_PROMPT, "empty"),
            1,
            Failed("empty", ErrorCode.INVALID_PROMPT),
        ),
        (
            JobError(ErrorCode.NETWORK_ERROR, "gone"),
            3,
            Retry("gone", ErrorCode.NETWORK_ERROR, 4.0),
        ),
        (ValueError("odd"), 1, Failed("ValueError: odd", ErrorCode.GENERATION_FAILED)),
    ],
)
async def test_errors_become_outcomes(error: Exception, attempt: int, expected: Any) -> None:
    """Only network and database errors are tried again, with the documented backoff."""
    bench = Bench(raises(error))

    assert await bench.carry(attempt=attempt) == expected


async def test_a_job_that_loses_its_engine_twice_is_failed() -> None:
    """The first loss costs it nothing, the second the job."""
    bench = Bench(raises(EngineLostError("signal 9")))

    first = await bench.carry(engine_losses=0)
    second = await bench.carry(engine_losses=1)

    assert first == Released("the engine ended while it ran this job: signal 9", engine_lost=True)
    assert isinstance(second, Failed)
    assert "signal 9" in second.error


async def test_an_unknown_job_type_is_refused_by_name() -> None:
    """The row's author reads which type was unknown."""
    outcome = await Bench(makes_a_picture).carry(job_type="paint")

    assert outcome == Failed('unknown job type "paint"', ErrorCode.INVALID_PROMPT)


async def test_files_of_a_stale_claim_are_removed() -> None:
    """When the finish says stale, what was uploaded doesn't stay behind."""
    bench = Bench(makes_a_picture)
    bench.recorder.answers = [Recorded.STALE]

    await bench.carry()

    assert bench.artifacts.files == {}
    assert bench.ended[0][2] is Recorded.STALE


async def test_a_refused_result_is_offered_again_then_retried() -> None:
    """A trigger that rejects the update costs retries, not the job."""
    bench = Bench(makes_a_picture)
    bench.recorder.answers = [StoreRejectedError("no") for _ in range(4)]

    outcome = await bench.carry()

    assert outcome == Retry("the database refused the result: no", ErrorCode.DATABASE_ERROR, 1.0)
    assert bench.slept == [1.0, 2.0, 4.0]
    assert bench.looks == [1.0]
    assert bench.artifacts.files == {}


async def test_a_refusal_that_heals_keeps_the_result() -> None:
    """The second offer of the same result is taken."""
    bench = Bench(makes_a_picture)
    bench.recorder.answers = [StoreRejectedError("no")]

    assert isinstance(await bench.carry(), Completed)
    assert len(bench.artifacts.files) == 1


class Hanging:
    """A run that goes on until it is cancelled, and says when it began."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.stopped = False

    async def __call__(self, *_: Any) -> RunOutput:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped = True
        raise AssertionError("never")


@pytest.mark.parametrize(
    ("state", "expected"), [(LeaseState.CANCELLED, [Cancelled()]), (LeaseState.LOST, [])]
)
async def test_the_database_stops_a_run(state: LeaseState, expected: list[Any]) -> None:
    """A cancelled job is finished as cancelled; a lost one is left in silence."""
    hanging = Hanging()
    bench = Bench(hanging)
    job = a_job()
    bench.executor.start(job, bench.leases.clock())
    await hanging.begun.wait()

    bench.leases.apply({job.claim_id: state})
    await asyncio.wait(bench.executor._carriers)

    assert [finish.outcome for finish in bench.recorder.finishes] == expected
    assert hanging.stopped
    assert bench.admissions.inside == 0


async def test_a_job_that_is_cancelled_here_stops_at_once() -> None:
    """Without the database's word on its lease; others run on, and unknown ones are ignored."""
    hanging, other = Hanging(), a_job()
    bench = Bench(hanging)
    job = a_job()
    bench.executor.start(job, bench.leases.clock())
    bench.executor.start(other, bench.leases.clock())
    await hanging.begun.wait()

    bench.executor.cancel(uuid4())
    bench.executor.cancel(job.id)
    await asyncio.wait(bench.executor._carriers, return_when=asyncio.FIRST_COMPLETED)

    assert [(each.claim_id, each.outcome) for each in bench.recorder.finishes] == [
        (job.claim_id, Cancelled())
    ]
    assert [run.job for run in bench.executor.runs.values()] == [other]
    await bench.executor.drain(grace_s=0)


async def test_the_hard_stop_releases_what_runs() -> None:
    """After the grace a running job is stopped and given back, uncounted."""
    hanging = Hanging()
    bench = Bench(hanging)
    bench.executor.start(a_job(), bench.leases.clock())
    await hanging.begun.wait()

    await bench.executor.drain(grace_s=0)

    assert bench.recorder.finishes[0].outcome == Released("the worker stops")
    assert bench.executor.room() == 0


async def test_the_soft_stop_releases_what_waits_and_finishes_what_runs() -> None:
    """A job that waits for the GPU goes back at once; one that runs may end."""
    end = asyncio.Event()

    async def run(*_: Any) -> RunOutput:
        await end.wait()
        return PICTURE

    bench = Bench(run)
    bench.executor.start(a_job(), bench.leases.clock())
    while not bench.admissions.inside:
        await asyncio.sleep(0)
    bench.admissions.gate.clear()
    bench.executor.start(a_job(), bench.leases.clock())
    await asyncio.sleep(0)

    draining = asyncio.create_task(bench.executor.drain(grace_s=30))
    while not bench.recorder.finishes:
        await asyncio.sleep(0)
    end.set()
    await draining

    outcomes = [type(finish.outcome) for finish in bench.recorder.finishes]
    assert outcomes == [Released, Completed]


async def test_a_job_claimed_while_stopping_is_released_before_it_begins() -> None:
    """A coroutine that never began still gives its job back."""
    bench = Bench(makes_a_picture)
    bench.executor.stop_waiting()

    outcome = await bench.carry()

    assert outcome == Released("the worker stops")


async def test_steps_reach_the_progress_writer() -> None:
    """What the engine reports is what the row will show, 100 being left to the finish."""

    async def run(_: str, __: Any, progress: Callable[[StepReport], None]) -> RunOutput:
        progress(StepReport("generating_image", 0.5))
        progress(StepReport("decoding", 1.0))
        await bench.progress.flush()
        return PICTURE

    bench = Bench(run)

    await bench.carry(claim_id=(claim_id := uuid4()))

    [[report]] = bench.store.reported
    assert (report.claim_id, report.percent, report.current_step) == (claim_id, 99, "decoding")


def test_a_jobs_age_counts_from_when_its_row_was_due() -> None:
    """Not from its claim: the table kept it waiting, and the oldest goes first."""
    run = JobRun(a_job(job_type="chat", queued_s=30.0, priority=7), 100.0, lambda: 100.0)
    request = request_of(run, JOB_TYPES["chat"], {"width": 0})

    assert (request.created_s, request.priority, request.size) == (70.0, 7, 0)
