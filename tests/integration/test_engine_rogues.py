"""Engines that say what no sound one would: figures beyond belief, ends that don't come."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from rogue_engine import LOADED, Says, command_of

from daemon.engines import lifetime
from daemon.engines.group import members
from daemon.engines.limits import EngineLimits, HealthLimits
from daemon.engines.process import EngineProcess
from daemon.values import EngineLostError, Loss, RunOutput, StepReport

NewEngine = Callable[..., EngineProcess]
NAN, HUGE = float("nan"), 10**18


@pytest.fixture
def rogue(new_engine: NewEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., EngineProcess]:
    """Make an engine that says what it is told."""

    def make(says: Says, **options: Any) -> EngineProcess:
        monkeypatch.setattr(lifetime, "engine_command", command_of(says))
        return new_engine(**options)

    return make


MakeRogue = Callable[..., EngineProcess]


async def ran(engine: EngineProcess) -> tuple[RunOutput, list[StepReport]]:
    steps: list[StepReport] = []
    return await engine.run("run", "chat", {}, steps.append), steps


@pytest.mark.parametrize(
    "figure",
    [{"weights_bytes": -5 * 2**30}, {"weights_bytes": HUGE}, {"seconds": NAN}, {"seconds": -1.0},
     {"savings": 99}],
)  # fmt: skip
async def test_a_load_that_tells_nonsense_is_no_load(
    figure: dict[str, Any], rogue: MakeRogue
) -> None:
    """The ledgers count with these figures: an engine that can't be believed is of no use."""
    engine = rogue({"load": [{**LOADED, **figure}]})

    with pytest.raises(EngineLostError, match=f"isn't a message.*{next(iter(figure))}"):
        await engine.load()

    assert engine.group is not None
    assert members(engine.group) == []


@pytest.mark.parametrize("figure", [{"left_bytes": -1}, {"host_bytes": -1}, {"host_bytes": HUGE}])
async def test_an_offload_that_tells_nonsense_costs_the_engine(
    figure: dict[str, Any], rogue: MakeRogue
) -> None:
    """More would be given back than was ever held."""
    told = {"type": "offloaded", "left_bytes": 1, "host_bytes": 2, "seconds": 0.1, **figure}
    engine = rogue({"load": [LOADED], "offload": [told]})
    await engine.load()

    with pytest.raises(EngineLostError, match="isn't a message"):
        await engine.offload()

    assert (await engine.ended()).loss is Loss.CRASHED


@pytest.mark.parametrize(
    "figure",
    [{"processor_s": NAN}, {"processor_s": -1.0}, {"processor_s": float("inf")},
     {"io_bytes": -1}, {"io_bytes": 2**63}, {"faults": -1}],
)  # fmt: skip
async def test_a_load_that_tells_nonsense_of_its_doings_costs_the_engine(
    figure: dict[str, Any], rogue: MakeRogue
) -> None:
    """It could keep a stuck load alive for ever, or end a good one."""
    done = {"processor_s": 1.0, "io_bytes": 1, "faults": 1, **figure}
    pong = {"type": "pong", "number": 1, "memory_bytes": 0, "activity": done}
    limits = EngineLimits(health=HealthLimits(ping_every_s=0.1))
    engine = rogue({"ping": [pong]}, limits=limits)

    with pytest.raises(EngineLostError, match=f"isn't a message.*{next(iter(figure))}"):
        await engine.load()

    assert (await engine.ended()).loss is Loss.CRASHED


async def test_a_run_that_measures_nonsense_is_a_run_that_measured_nothing(
    rogue: MakeRogue,
) -> None:
    """Its result is as good as any; what can't be true isn't learned from."""
    done = {"type": "done", "fields": {"response": "x"}, "files": []}
    for peak, held in ((-1, -1), (HUGE, HUGE), (2**63, 2**63)):
        timings = {"sampling": NAN, "decoding": -3.0, "for_ever": float("inf"), "saving": 0.25}
        engine = rogue(
            {
                "load": [LOADED],
                "run": [{**done, "peak_bytes": peak, "held_bytes": held, "timings": timings}],
            }
        )
        await engine.load()
        output, _ = await ran(engine)

        assert output.fields == {"response": "x"}
        assert (output.peak_bytes, output.held_bytes) == (None, None)
        assert output.timings == {"saving": 0.25}


async def test_steps_stay_between_nothing_and_all(rogue: MakeRogue) -> None:
    """Whoever takes them counts on it: a row's progress, a forecast of the run's end."""
    fractions = [NAN, -3.0, float("inf"), 0.5]
    steps = [{"type": "step", "current_step": "x", "fraction": each} for each in fractions]
    done = {"type": "done", "fields": {}, "files": [], "peak_bytes": None, "timings": {}}
    engine = rogue({"load": [LOADED], "run": [*steps, done]})
    await engine.load()

    _, seen = await ran(engine)

    assert [each.fraction for each in seen] == [0.0, 0.0, 1.0, 0.5]


async def test_an_engine_that_is_broken_and_stays_is_killed(
    rogue: MakeRogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where even its own exit hangs in the driver, its jobs don't wait for a ping's time-out."""
    monkeypatch.setattr(lifetime, "FATAL_GRACE_S", 0.2)
    engine = rogue(
        {"load": [LOADED], "run": [{"type": "fatal", "cause": "its end"}, {"type": "silence"}]}
    )
    await engine.load()

    with pytest.raises(EngineLostError, match="its end") as caught:
        await ran(engine)

    assert caught.value.loss is Loss.POISONED
    assert engine.group is not None
    assert members(engine.group) == []


async def test_a_hung_engine_that_ignores_its_signals_is_killed(rogue: MakeRogue) -> None:
    """It is dead to the word and to SIGTERM: it gets neither first."""
    says = {"load": [LOADED], "run": [{"type": "silence"}]}
    engine = rogue(says, limits=EngineLimits(health=HealthLimits(hang_floor_s=1)))
    await engine.load()

    with pytest.raises(EngineLostError, match="hung and was killed: its chat run took no step"):
        await ran(engine)

    assert (await engine.ended()).loss is Loss.HUNG
    assert engine.group is not None
    assert members(engine.group) == []


async def test_a_group_that_is_gone_gets_no_signal(
    new_engine: NewEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number may be somebody else's by then, while its last output is waited for."""
    sent: list[tuple[int, signal.Signals]] = []
    engine = new_engine()
    await engine.load()
    assert engine.group is not None
    monkeypatch.setattr(lifetime, "signal_group", lambda *signal_sent: sent.append(signal_sent))

    os.killpg(engine.group, signal.SIGKILL)
    await engine.ended()
    await engine.stop()

    assert sent == []


async def test_jobs_do_not_wait_for_a_process_that_can_not_be_killed(
    rogue: MakeRogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that waits in a driver: its runs are lost, its bytes stay held until it is gone."""
    monkeypatch.setattr(lifetime, "UNKILLABLE_S", 0.2)
    # What the kernel does with the signal of a process that it can't interrupt: nothing, yet.
    monkeypatch.setattr(lifetime, "signal_group", lambda group, number: None)
    says = {"load": [LOADED], "run": [{"type": "silence"}]}
    engine = rogue(says, limits=EngineLimits(cancel_s=0.1))
    await engine.load()
    run = asyncio.create_task(ran(engine))
    await asyncio.sleep(0)

    engine.cancel("run")
    with pytest.raises(EngineLostError, match="was killed, and can't be ended") as caught:
        await run
    assert caught.value.loss is Loss.HUNG
    assert (await engine.ended()).loss is Loss.HUNG
    stopping = asyncio.create_task(engine.stop(grace_s=0))
    await asyncio.sleep(0)
    assert not stopping.done()
    monkeypatch.undo()
    assert engine.group is not None
    os.killpg(engine.group, signal.SIGKILL)
    await stopping
    assert members(engine.group) == []
