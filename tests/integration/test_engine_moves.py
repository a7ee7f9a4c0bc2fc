"""Weights that go to the host's memory and back, in real engine processes."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from daemon.engines.group import members
from daemon.engines.inline import InlineEngine
from daemon.engines.limits import EngineLimits
from daemon.engines.pool import EnginePool
from daemon.engines.process import EngineProcess
from daemon.jobs import ErrorCode, JobError
from daemon.values import EngineEnd, EngineLostError, Loss, Offloaded
from handlers.base import ModelSpec
from handlers.params import Limits, resolve

StartEngine = Callable[..., Awaitable[EngineProcess]]
NewEngine = Callable[..., EngineProcess]
MIB = 2**20
MOVING = {"offload": True, "weights": 64 * MIB}


def params(**fake: Any) -> dict[str, Any]:
    request = {"prompt": "p", "fake": fake}
    return resolve("chat", "", "chat", "fast", request, limits=Limits(allow_fake=True)).params


async def answer(engine: EngineProcess | InlineEngine) -> str:
    output = await engine.run("run", "chat", params(), lambda _: None)
    return str(output.fields["response"])


async def test_an_engine_says_what_it_can_do(new_engine: NewEngine) -> None:
    """Whether its weights can move, and how far its runs can save memory."""
    plain = await new_engine(options={"savings": 1}).load()
    able = await new_engine(options=MOVING).load()

    assert (plain.offloads, plain.savings) == (False, 1)
    assert (able.offloads, able.savings) == (True, 2)
    assert able.weights_bytes > 64 * MIB


async def test_weights_go_and_come_back_in_one_process(start_engine: StartEngine) -> None:
    """Twice; each move tells its bytes and seconds, and runs work after it."""
    engine = await start_engine(options={**MOVING, "offload_s": 0.05, "restore_s": 0.05})
    group = engine.group

    for _ in range(2):
        away = await engine.offload()
        assert away.host_bytes == 64 * MIB
        assert away.left_bytes < 40 * MIB
        assert away.seconds >= 0.05
        back = await engine.restore()
        assert back.weights_bytes > 64 * MIB
        assert back.seconds >= 0.05
        assert await answer(engine) == "You said: p"

    assert engine.group == group


async def test_the_engine_without_a_process_moves_too() -> None:
    """The same contract."""
    spec = ModelSpec("chat", "small chat", "", "fake", options={**MOVING, "weights": 7})
    engine = InlineEngine(spec)

    assert (await engine.load()).offloads
    assert (await engine.offload()).host_bytes == 7
    assert (await engine.restore()).savings == 2
    assert await answer(engine) == "You said: p"
    await engine.stop()
    with pytest.raises(EngineLostError):
        await engine.offload()


async def test_nothing_runs_while_the_weights_are_away(start_engine: StartEngine) -> None:
    """And nothing moves beside a run, nor twice: such an order is the caller's mistake."""
    engine = await start_engine(options={**MOVING, "offload_s": 0.1})
    first = asyncio.Event()
    run = asyncio.create_task(
        engine.run("long", "chat", params(steps=1000, step_s=0.01), lambda _: first.set())
    )
    await first.wait()
    with pytest.raises(ValueError, match="can't offload now"):
        await engine.offload()
    with pytest.raises(ValueError, match="nothing to restore"):
        await engine.restore()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)

    moving = asyncio.create_task(engine.offload())
    await asyncio.sleep(0)
    for wrong in (engine.restore(), engine.offload(), answer(engine)):
        with pytest.raises(ValueError, match="the chat engine"):
            await wrong

    assert await moving
    with pytest.raises(ValueError, match="can't begin"):
        await answer(engine)


async def test_a_failed_move_is_told_and_ends_the_engine(start_engine: StartEngine) -> None:
    """In either direction the caller hears the engine's own words."""
    away = await start_engine(options={**MOVING, "offload_fail": "no pages"})
    with pytest.raises(JobError, match=r"can't be moved to the host's memory: .*no pages"):
        await away.offload()

    back = await start_engine(options={**MOVING, "restore_fail": "CUDA out of memory"})
    await back.offload()
    with pytest.raises(JobError, match="doesn't fit into memory") as caught:
        await back.restore()

    assert caught.value.error_code is ErrorCode.VRAM_OVERFLOW
    for engine in (away, back):
        assert engine.group is not None
        assert members(engine.group) == []


async def test_a_move_that_breaks_the_device_poisons_the_engine(start_engine: StartEngine) -> None:
    """As such an error does in a run."""
    engine = await start_engine(options={**MOVING, "offload_fail": "CUDA error: x"})

    with pytest.raises(EngineLostError, match="its device is broken") as caught:
        await engine.offload()

    assert caught.value.loss is Loss.POISONED


async def test_a_move_is_bounded(start_engine: StartEngine) -> None:
    """By the load's time-out: one that hangs costs the engine."""
    limits = EngineLimits(load_s=120)
    away = await start_engine(options={**MOVING, "offload_s": 600}, limits=limits)
    back = await start_engine(options={**MOVING, "restore_s": 600}, limits=limits)
    await back.offload()
    # Not before: a process takes longer to start than this test has patience for the moves.
    object.__setattr__(limits, "load_s", 0.3)

    with pytest.raises(EngineLostError, match=r"did not offload within 0\.3 s") as lost:
        await away.offload()
    with pytest.raises(JobError, match=r"did not restore within 0\.3 s"):
        await back.restore()

    assert lost.value.loss is Loss.HUNG


class Reports:
    """What a pool reports, to be waited for."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *report: self.heard.put_nowait((name, *report))

    async def next(self) -> tuple[Any, ...]:
        return await self.heard.get()


@pytest.mark.parametrize("moving", [False, True])
async def test_a_pool_tells_one_death_of_an_engine_that_is_away(
    new_engine: NewEngine, moving: bool
) -> None:
    """Killed on the host or on its way: lost, gone, and the next load is a new engine."""
    options = {**MOVING, "offload_s": 600 if moving else 0}
    engines: list[EngineProcess] = []

    def make(model: str, device: int) -> EngineProcess:
        engines.append(new_engine(options=options))
        return engines[-1]

    reports = Reports()
    async with EnginePool(make) as pool:
        pool.report_to(reports)
        pool.load("chat", 0)
        assert (await reports.next())[0] == "load_done"
        pool.offload("chat", 0)
        if not moving:
            name, *_, offloaded = await reports.next()
            assert (name, type(offloaded)) == ("offload_done", Offloaded)
        else:
            await asyncio.sleep(0)
        os.kill(engines[0].group or 0, signal.SIGKILL)

        lost, gone = await reports.next(), await reports.next()
        assert lost[:3] == ("engine_lost", "chat", 0)
        assert isinstance(lost[3], EngineEnd)
        assert lost[3].loss is Loss.KILLED
        assert gone == ("unload_done", "chat", 0)
        pool.load("chat", 0)
        assert (await reports.next())[0] == "load_done"

    assert reports.heard.empty()
    assert len(engines) == 2
    assert all(members(engine.group or 0) == [] for engine in engines)
