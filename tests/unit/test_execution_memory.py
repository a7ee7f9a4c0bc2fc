"""Runs that run out of memory, carried to their end with every other part scripted."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from execution_bench import PICTURE, Bench
from scripted import a_job

from daemon.jobs import Completed, ErrorCode, Failed, JobError
from daemon.values import EngineLostError, RunOutput, StepReport, Waits

OVERFLOW = JobError(ErrorCode.VRAM_OVERFLOW, "out of memory at 512 x 512")


class Narrow:
    """Runs that run out of memory until something was done about it."""

    def __init__(self, needs: int, savings: int) -> None:
        self.needs = needs
        """How many rungs down a run fits."""
        self.bench = Bench(self)
        self.bench.engine.savings = savings
        self.saved: list[int | None] = []

    async def __call__(self, _: str, params: Mapping[str, Any], progress: Any) -> RunOutput:
        assert self.bench.admissions.inside == 1
        self.saved.append(params.get("saving"))
        if len(self.saved) <= self.needs:
            raise OVERFLOW
        return PICTURE

    @property
    def exclusive(self) -> list[bool]:
        return [request.exclusive for request in self.bench.admissions.requests]


@pytest.mark.parametrize(
    ("needs", "saved"),
    [
        (0, [None]),
        (1, [None, None]),
        (2, [None, None, 1]),
        (3, [None, None, 1, 2]),
    ],
)
async def test_a_run_is_tried_with_less_until_it_fits(needs: int, saved: list[int | None]) -> None:
    """Alone on the device first, then saving more and more; the job never notices."""
    narrow = Narrow(needs, savings=2)

    outcome = await narrow.bench.carry()

    assert isinstance(outcome, Completed)
    assert narrow.saved == saved
    assert narrow.exclusive == [False, True, True, True][: len(saved)]
    assert len({request.id for request in narrow.bench.admissions.requests}) == 1
    assert narrow.bench.admissions.inside == 0
    assert narrow.bench.overflows == needs
    assert narrow.bench.outputs == [PICTURE]


@pytest.mark.parametrize(
    ("savings", "tries", "words"),
    [
        (0, 2, "also alone on the device"),
        (1, 3, "also alone on the device and tiled"),
        (2, 4, "also alone on the device and offloaded"),
    ],
)
async def test_a_run_that_never_fits_fails(savings: int, tries: int, words: str) -> None:
    """The row's error is the engine's, and says what was tried: as much as the model can."""
    narrow = Narrow(99, savings)

    outcome = await narrow.bench.carry()

    assert len(narrow.saved) == tries
    assert outcome == Failed(f"out of memory at 512 x 512 ({words})", ErrorCode.VRAM_OVERFLOW)


async def test_an_overflow_of_the_admission_is_not_tried_again() -> None:
    """What can't be granted on an empty device doesn't fit into one by trying."""
    narrow = Narrow(0, savings=2)
    refusal = JobError(ErrorCode.VRAM_OVERFLOW, "needs 20 GB, the largest device offers 12")
    narrow.bench.admissions.refusals = [refusal]

    outcome = await narrow.bench.carry()

    assert outcome == Failed(refusal.message, ErrorCode.VRAM_OVERFLOW)
    assert (narrow.saved, narrow.exclusive) == ([], [False])


async def test_an_overflow_of_a_later_admission_ends_the_ladder() -> None:
    """More is known of the model by then."""
    narrow = Narrow(99, savings=2)
    refusal = JobError(ErrorCode.VRAM_OVERFLOW, "its weights grew")
    narrow.bench.admissions.refusals = [None, refusal]

    outcome = await narrow.bench.carry()

    assert outcome == Failed("its weights grew", ErrorCode.VRAM_OVERFLOW)
    assert len(narrow.saved) == 1


@pytest.mark.parametrize(
    "error", [JobError(ErrorCode.GENERATION_FAILED, "no"), EngineLostError("signal 9")]
)
async def test_other_errors_are_not_tried_again(error: Exception) -> None:
    """Only memory is a matter of how a run is tried."""
    narrow = Narrow(0, savings=2)

    async def fail(*_: Any) -> RunOutput:
        narrow.saved.append(None)
        raise error

    narrow.bench.engine.runs = fail
    await narrow.bench.carry()

    assert len(narrow.saved) == 1


async def test_the_tries_time_and_waits_are_the_jobs_own() -> None:
    """What every try waited and ran is in the result's timings, each reason by itself."""
    narrow = Narrow(1, savings=0)
    narrow.bench.engine.waited = Waits(0.0, 0.0, 2.0, 3.0)

    outcome = await narrow.bench.carry(queued_s=1.0)

    assert isinstance(outcome, Completed)
    timings = outcome.result["timings"]
    assert list(timings) == ["wake_up", "queue", "vram", "switch", "load", "run", "upload"]
    assert (timings["switch"], timings["load"]) == (4.0, 6.0)
    written = narrow.bench.recorder.finishes[-1].timings
    assert {name: round(written[name], 3) for name in timings} == timings


async def test_a_job_between_two_tries_waits() -> None:
    """Its row says so, its progress doesn't fall, and a stop releases it at once."""
    first = asyncio.Event()

    async def run(_: str, __: Any, progress: Callable[[StepReport], None]) -> RunOutput:
        progress(StepReport("generating_image", 0.5))
        bench.admissions.gate.clear()
        first.set()
        raise OVERFLOW

    bench = Bench(run)
    job = a_job()
    bench.executor.start(job, bench.leases.clock())
    await first.wait()
    while len(bench.admissions.requests) < 2:
        await asyncio.sleep(0)
    held = bench.executor.runs[str(job.claim_id)]
    assert (held.phase, held.percent, held.last_step) == ("waiting", 50, "waiting_for_gpu")

    await bench.executor.drain(grace_s=30)

    assert [finish.outcome.reason for finish in bench.recorder.finishes] == ["the worker stops"]  # type: ignore[union-attr]
