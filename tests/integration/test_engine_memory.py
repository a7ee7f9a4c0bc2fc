"""What engines hold, measured in real processes whose runs really take and leak memory."""

import asyncio
import itertools
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from eventually import eventually

from daemon.engines.process import EngineProcess
from daemon.jobs import ErrorCode, JobError
from daemon.values import RunCancelledError, RunOutput, StepReport
from handlers.params import Limits, resolve

StartEngine = Callable[..., Awaitable[EngineProcess]]
MIB = 2**20
NOISE = 12 * MIB


def params(handler: str = "chat", saving: int = 0, **fake: Any) -> dict[str, Any]:
    request = {"prompt": "p", "fake": fake}
    limits = Limits(allow_fake=True)
    resolved = resolve(handler, "", "sdxl", "fast", request, limits=limits).params
    return {**resolved, "saving": saving} if handler == "image" else resolved


async def ran(engine: EngineProcess, **fake: Any) -> RunOutput:
    return await engine.run("run", "chat", params(**fake), lambda _: None)


def held(output: RunOutput) -> int:
    assert output.held_bytes is not None
    return output.held_bytes


async def test_a_peak_is_seen_and_gone_after_the_run(start_engine: StartEngine) -> None:
    """The peak is that of this run, weights included; what is held after it is less."""
    engine = await start_engine(options={"weights": 50 * MIB})
    before = await ran(engine)

    high = await ran(engine, peak=200 * MIB)
    after = await ran(engine)

    assert before.peak_bytes is not None
    assert high.peak_bytes is not None
    assert after.peak_bytes is not None
    assert 50 * MIB < held(before) < 50 * MIB + 4 * NOISE
    assert high.peak_bytes == pytest.approx(held(before) + 200 * MIB, abs=NOISE)
    assert held(high) == pytest.approx(held(before), abs=NOISE)
    assert after.peak_bytes < held(before) + NOISE


async def test_nothing_is_measured_before_the_model_is_there(
    new_engine: Callable[..., EngineProcess], tmp_path: Path
) -> None:
    """A load is answered for as soon as it is asked, and isn't looked into half-way."""
    waits, up = tmp_path / "waits", tmp_path / "up"
    touch = tmp_path / "touch"
    touch.write_text(f"#!/bin/sh\nexec touch {up}\n")
    touch.chmod(0o755)
    options = {"child": [str(touch)], "load_waits": str(waits), "weights": 50 * MIB}
    engine = new_engine(options=options)
    load = asyncio.create_task(engine.load())
    await eventually(up.exists, what="it loads")

    assert await engine.memory() == 0
    waits.touch()
    await load
    assert await engine.memory() > 50 * MIB


async def test_processes_that_an_engine_has_started_are_part_of_it(
    new_engine: Callable[..., EngineProcess], tmp_path: Path
) -> None:
    """As those are in which vLLM computes."""
    mark = tmp_path / "held"
    holds = f"import time; held = b'1' * (200 * 2**20); open({str(mark)!r}, 'w'); time.sleep(600)"
    alone = await new_engine().load()
    together = await new_engine(
        options={"child": [sys.executable, "-c", holds], "load_waits": str(mark)}
    ).load()

    assert together.weights_bytes - alone.weights_bytes > 190 * MIB


async def test_a_leak_grows_from_run_to_run(start_engine: StartEngine) -> None:
    """By what is leaked, so that it can be told from what a first run sets up."""
    engine = await start_engine()
    await ran(engine)

    outputs = [await ran(engine, leak=30 * MIB, peak=60 * MIB) for _ in range(3)]

    growth = [held(later) - held(one) for one, later in itertools.pairwise(outputs)]
    assert growth == [pytest.approx(30 * MIB, abs=NOISE / 4)] * 2


async def test_nothing_is_told_while_another_run_is_in_the_engine(
    start_engine: StartEngine,
) -> None:
    """What it holds would be the other one's too."""
    engine = await start_engine(max_concurrent=2)
    outputs: list[RunOutput] = []

    async def beside() -> None:
        outputs.append(await engine.run("beside", "chat", params(), lambda _: None))

    tasks: list[asyncio.Task[None]] = []

    def progress(report: StepReport) -> None:
        if not tasks:
            tasks.append(asyncio.create_task(beside()))
            tasks[0].add_done_callback(lambda _: engine.cancel("long"))

    with pytest.raises(RunCancelledError):
        await engine.run("long", "chat", params(steps=10_000, step_s=0.01), progress)

    assert [output.held_bytes for output in outputs] == [None]


async def test_running_out_of_memory_costs_one_run_and_leaves_nothing(
    start_engine: StartEngine,
) -> None:
    """The engine lives on, and what the failed run held isn't kept by its traceback."""
    engine = await start_engine()
    before = await ran(engine)

    with pytest.raises(JobError, match="the device ran out of memory") as caught:
        await ran(engine, peak=200 * MIB, oom_times=2)

    assert caught.value.error_code is ErrorCode.VRAM_OVERFLOW
    assert await engine.memory() == pytest.approx(held(before), abs=NOISE)


async def test_a_run_fits_once_it_saves_enough(start_engine: StartEngine) -> None:
    """And its result says how far it went."""
    engine = await start_engine("sdxl")

    for saving in (0, 1):
        wanted = params("image", saving, oom_until_saving=2)
        with pytest.raises(JobError, match="ran out of memory"):
            await engine.run("run", "image", wanted, lambda _: None)
    wanted = params("image", 2, oom_until_saving=2)
    output = await engine.run("run", "image", wanted, lambda _: None)
    plain = await engine.run("run", "image", params("image"), lambda _: None)

    assert output.fields["metadata"]["saving"] == "offloaded"
    assert "saving" not in plain.fields["metadata"]
