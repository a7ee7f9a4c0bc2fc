"""Engines that hang or break, in a real process: each is found, killed and told by its kind."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from daemon.engines.group import members
from daemon.engines.limits import EngineLimits, HealthLimits
from daemon.engines.process import EngineProcess
from daemon.values import EngineLostError, Loss, StepReport
from handlers.params import Limits, resolve

StartEngine = Callable[..., Awaitable[EngineProcess]]
IMPATIENT = EngineLimits(120, 60, HealthLimits(hang_floor_s=2, hang_factor=2))
LISTENING = EngineLimits(120, 60, HealthLimits(ping_every_s=0.05, ping_within_s=2))
"""Neither is so short that an engine could be taken for hung on a busy machine."""


def params(**fake: Any) -> dict[str, Any]:
    request = {"prompt": "p", "fake": fake}
    return resolve("chat", "", "chat", "fast", request, limits=Limits(allow_fake=True)).params


def ignore(report: StepReport) -> None:
    pass


async def lost(engine: EngineProcess, **fake: Any) -> EngineLostError:
    with pytest.raises(EngineLostError) as caught:
        await engine.run("run", "chat", params(**fake), ignore)
    assert engine.group is not None
    assert members(engine.group) == []
    assert (await engine.ended()).loss is caught.value.loss
    return caught.value


async def test_a_run_without_steps_is_killed(start_engine: StartEngine) -> None:
    """The kernel that never returns: the sentence names the last step."""
    engine = await start_engine(limits=IMPATIENT)
    seen: list[StepReport] = []

    with pytest.raises(EngineLostError, match="hung and was killed: its chat run took no step"):
        await engine.run("run", "chat", params(steps=2, step_s=600), seen.append)

    assert (await engine.ended()).loss is Loss.HUNG
    assert seen == []


async def test_a_long_run_that_takes_steps_lives(start_engine: StartEngine) -> None:
    """Far longer in all than a run may be without a step; one that has ended takes none."""
    engine = await start_engine(limits=IMPATIENT)
    await engine.run("before", "chat", params(), ignore)

    output = await engine.run("run", "chat", params(steps=50, step_s=0.1), ignore)

    assert output.fields["response"] == "You said: p"


async def test_an_engine_that_answers_its_pings_lives(start_engine: StartEngine) -> None:
    """Whatever its runs do meanwhile: one long step isn't a hang of the engine."""
    engine = await start_engine(limits=LISTENING)

    output = await engine.run("run", "chat", params(steps=1, step_s=5), ignore)

    assert output.fields["response"] == "You said: p"


async def test_an_engine_that_can_not_answer_for_a_while_lives(start_engine: StartEngine) -> None:
    """A kernel that holds the interpreter for some seconds is no hang before the stated time."""
    engine = await start_engine(
        limits=EngineLimits(120, 60, HealthLimits(ping_every_s=0.05, ping_within_s=60))
    )

    output = await engine.run("run", "chat", params(starve_s=3), ignore)

    assert output.fields["response"] == "You said: p"


async def test_an_engine_that_can_not_answer_is_killed(start_engine: StartEngine) -> None:
    """A library that doesn't let go of the interpreter starves the engine's event loop."""
    engine = await start_engine(limits=LISTENING)

    # Less than it would have while it loads.
    error = await lost(engine, starve_s=9)

    assert error.loss is Loss.HUNG
    assert "hung and was killed: it answered no ping for" in error.reason


async def test_a_stopped_process_is_killed_even_without_a_run(start_engine: StartEngine) -> None:
    """A place on the GPU isn't left to an engine that nobody could use."""
    engine = await start_engine(limits=LISTENING)
    assert engine.group is not None

    os.kill(engine.group, signal.SIGSTOP)
    end = await engine.ended()

    assert end.loss is Loss.HUNG
    assert "it answered no ping" in end.reason
    assert members(engine.group) == []


@pytest.mark.parametrize(
    ("number", "loss"), [(signal.SIGSEGV, Loss.CRASHED), (signal.SIGKILL, Loss.KILLED)]
)
async def test_a_signal_tells_who_ended_it(
    number: signal.Signals, loss: Loss, start_engine: StartEngine
) -> None:
    """A segfault is the engine's own, a kill is somebody else's."""
    engine = await start_engine()
    assert engine.group is not None

    os.kill(engine.group, number)
    end = await engine.ended()

    assert (end.loss, number.name in end.reason) == (loss, True)


@pytest.mark.parametrize(
    ("fake", "loss"), [({"broken": True}, Loss.POISONED), ({"crash": 3}, Loss.CRASHED)]
)
async def test_a_run_hears_how_its_engine_was_lost(
    fake: dict[str, Any], loss: Loss, start_engine: StartEngine
) -> None:
    """A broken device and an exit cost the job the same, and tell operators different things."""
    assert (await lost(await start_engine(), **fake)).loss is loss


async def test_an_engine_that_was_stopped_says_so(start_engine: StartEngine) -> None:
    """The worker's own doing is no fault of the engine's."""
    engine = await start_engine()
    first = asyncio.Event()
    run = asyncio.create_task(
        engine.run("run", "chat", params(steps=1000, step_s=0.01), lambda _: first.set())
    )
    await first.wait()

    await engine.stop(grace_s=0)
    (error,) = await asyncio.gather(run, return_exceptions=True)

    assert isinstance(error, EngineLostError)
    assert error.loss is Loss.STOPPED
