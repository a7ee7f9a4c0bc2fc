"""Loads and moves that stand still while their engine's event loop runs, in real processes."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from daemon.engines.group import members
from daemon.engines.limits import EngineLimits, HealthLimits
from daemon.engines.process import EngineProcess
from daemon.jobs import JobError
from daemon.values import EngineLostError, Loss

StartEngine = Callable[..., Awaitable[EngineProcess]]
NewEngine = Callable[..., EngineProcess]

IMPATIENT = EngineLimits(120, 60, HealthLimits(hang_floor_s=2, ping_every_s=0.5))
STOOD_STILL = (
    r"hung and was killed: its {} stood still for [0-9.]+ s: [0-9.e-]+ s of processor time, "
    r"[0-9,]+ bytes read or written, 0 pages fetched"
)


async def found_hung(engine: EngineProcess, move: Awaitable[object], deed: str) -> None:
    with pytest.raises(EngineLostError, match=STOOD_STILL.format(deed)):
        await move
    assert (await engine.ended()).loss is Loss.HUNG
    assert engine.group is not None
    assert members(engine.group) == []


async def test_a_load_that_is_stuck_in_its_thread_is_killed(new_engine: NewEngine) -> None:
    """It answers its pings; its processes do nothing, one beside the model's neither."""
    options = {"load_hangs": True, "child": ["sleep", "600"]}
    engine = new_engine(options=options, limits=IMPATIENT)

    await found_hung(engine, engine.load(), "load")


async def test_an_offload_that_is_stuck_is_killed(start_engine: StartEngine) -> None:
    """As a load: what was loaded in good time is no excuse."""
    engine = await start_engine(options={"offload": True, "offload_hangs": True}, limits=IMPATIENT)

    await found_hung(engine, engine.offload(), "offload")


async def test_a_restore_that_is_stuck_is_killed(start_engine: StartEngine) -> None:
    """Each move is watched anew; an offloaded engine that idles has nothing to do."""
    options = {"offload": True, "restore_hangs": True}
    engine = await start_engine(options=options, limits=IMPATIENT)
    idle = await start_engine(options=options, limits=IMPATIENT)
    await engine.offload()
    await idle.offload()

    await found_hung(engine, engine.restore(), "restore")
    assert await idle.memory() >= 0


async def test_a_slow_load_lives_while_stuck_ones_are_found(
    new_engine: NewEngine, tmp_path: Path
) -> None:
    """Two that began after it were waited for as long as it would have been."""
    there = tmp_path / "there"
    slow = new_engine(options={"load_crawls": str(there)}, limits=IMPATIENT)
    loading = asyncio.create_task(slow.load())
    for _ in range(2):
        stuck = new_engine(options={"load_hangs": True}, limits=IMPATIENT)
        await found_hung(stuck, stuck.load(), "load")

    assert not loading.done()
    there.touch()
    await loading


async def test_a_slow_load_ends_at_its_time_out(new_engine: NewEngine, tmp_path: Path) -> None:
    """Signs of life for ever are no load."""
    limits = EngineLimits(6, 60, IMPATIENT.health)
    engine = new_engine(options={"load_crawls": str(tmp_path / "never")}, limits=limits)

    with pytest.raises(JobError, match="did not load within 6 s"):
        await engine.load()

    assert (await engine.ended()).loss is Loss.HUNG
