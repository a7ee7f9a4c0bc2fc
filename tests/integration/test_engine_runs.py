"""Runs on an engine: one suite for the engine process and the one without a process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.engine_ports import Engine
from daemon.engines.inline import InlineEngine
from daemon.engines.process import EngineProcess
from daemon.jobs import ErrorCode, JobError
from daemon.values import EngineEnd, EngineLostError, Loss, RunCancelledError, StepReport
from handlers.base import ModelSpec
from handlers.params import Limits, resolve


def params(handler: str = "chat", **fake: Any) -> dict[str, Any]:
    request = {"prompt": "hello", "seed": 1, "fake": fake}
    limits = Limits(allow_fake=True)
    return resolve(handler, handler, "sdxl", "fast", request, limits=limits).params


class Steps(list[StepReport]):
    """Collects steps and lets a test wait for the first one."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    def __call__(self, report: StepReport) -> None:
        self.append(report)
        self.begun.set()


@pytest.fixture(params=["process", "inline"])
async def engine(
    request: pytest.FixtureRequest, new_engine: Callable[..., EngineProcess]
) -> AsyncIterator[Engine]:
    if request.param == "process":
        process = new_engine(max_concurrent=2)
        await process.load()
        yield process
        return
    inline = InlineEngine(ModelSpec("chat", "small chat", "", "fake", max_concurrent=2))
    await inline.load()
    yield inline
    await inline.stop()


async def test_a_run_reports_its_steps_and_ends_with_its_result(engine: Engine) -> None:
    """Steps come in order and before the end; the result holds the handler's fields."""
    steps = Steps()

    output = await engine.run("run", "chat", params(steps=3, step_s=0.03), steps)

    assert output.fields["response"] == "You said: hello"
    assert sorted(steps, key=lambda report: report.fraction) == steps
    last = steps[-1]
    assert (last.current_step, last.fraction, last.step, last.steps) == (
        "generating_text",
        1.0,
        3,
        3,
    )
    assert "".join(report.text for report in steps) == "You said: hello"
    assert not output.files


async def test_files_arrive_whole(engine: Engine) -> None:
    """A film of megabytes comes back byte for byte, with the same seed the same one."""
    wanted = params("video", bytes=3_000_000)

    first = await engine.run("first", "video", wanted, Steps())
    again = await engine.run("again", "video", wanted, Steps())

    assert [file.kind for file in first.files] == ["video", "thumbnail"]
    assert len(first.files[0].data) > 3_000_000
    assert list(first.files) == list(again.files)


async def test_a_failed_run_is_a_job_error_and_the_engine_lives_on(engine: Engine) -> None:
    """The row gets the handler's code and sentence."""
    with pytest.raises(JobError, match="it broke") as caught:
        await engine.run(
            "run", "chat", params(fail="it broke", error_code="VRAM_OVERFLOW"), Steps()
        )

    assert caught.value.error_code is ErrorCode.VRAM_OVERFLOW
    assert await engine.run("next", "chat", params(), Steps())


async def test_an_unknown_handler_is_refused_in_words(engine: Engine) -> None:
    """A handler that the model can't serve fails the run, not the engine."""
    with pytest.raises(JobError, match="has no use for the handler 'dance'"):
        await engine.run("run", "dance", params(), Steps())


async def test_cancel_stops_a_run_at_its_next_step(engine: Engine) -> None:
    """The run says that it was cancelled; others go on."""
    steps, others = Steps(), Steps()
    run = asyncio.create_task(engine.run("run", "chat", params(steps=100_000, step_s=0.01), steps))
    other = asyncio.create_task(engine.run("other", "chat", params(steps=20, step_s=0.02), others))
    await steps.begun.wait()
    await others.begun.wait()

    engine.cancel("run")
    engine.cancel("no such run")

    with pytest.raises(RunCancelledError):
        await run
    assert (await other).fields["response"] == "You said: hello"


async def test_a_fake_run_can_be_held_at_its_middle(engine: Engine, tmp_path: Path) -> None:
    """For as long as a test wants to look at it; it can be cancelled meanwhile."""
    hold = tmp_path / "hold"
    steps, others = Steps(), Steps()
    held = params(steps=4, hold=str(hold))
    run = asyncio.create_task(engine.run("run", "chat", held, steps))
    other = asyncio.create_task(engine.run("other", "chat", held, others))
    await steps.begun.wait()
    await others.begun.wait()

    engine.cancel("other")
    with pytest.raises(RunCancelledError):
        await other
    await engine.run("whole", "chat", params(steps=50), Steps())
    assert not run.done()
    assert max(report.fraction for report in (*steps, *others)) <= 0.5
    hold.touch()

    assert (await run).fields["response"] == "You said: hello"


async def test_a_cancelled_caller_waits_for_the_real_end(engine: Engine, tmp_path: Path) -> None:
    """When the call has ended nothing of the run is left, even if it was cancelled twice."""
    mark = tmp_path / "ended"
    steps = Steps()
    wanted = params(steps=1_000, step_s=0.2, end_mark=str(mark))
    run = asyncio.create_task(engine.run("run", "chat", wanted, steps))
    await steps.begun.wait()

    run.cancel()
    await asyncio.sleep(0)
    run.cancel()
    (end,) = await asyncio.gather(run, return_exceptions=True)

    assert isinstance(end, asyncio.CancelledError)
    assert mark.exists()


async def test_a_stopped_engine_takes_no_run(engine: Engine) -> None:
    """It says so at once, and why it ended."""
    await engine.stop()

    with pytest.raises(EngineLostError, match="the chat engine was stopped"):
        await engine.run("run", "chat", params(), Steps())
    assert await engine.ended() == EngineEnd(Loss.STOPPED, "the chat engine was stopped")
