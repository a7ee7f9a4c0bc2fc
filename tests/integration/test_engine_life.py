"""How engine processes start and end, and that nothing of them is ever left."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from eventually import eventually

from daemon.engines.group import members
from daemon.engines.limits import EngineLimits
from daemon.engines.output import BURST_BYTES, LINE_COSTS_BYTES
from daemon.engines.process import EngineProcess
from daemon.jobs import ErrorCode, JobError
from daemon.values import EngineLostError, Loss, StepReport
from handlers.params import Limits, resolve

STUBBORN = [
    sys.executable,
    "-c",
    "from signal import *; signal(SIGTERM, SIG_IGN); pause()",
]
StartEngine = Callable[..., Awaitable[EngineProcess]]
NewEngine = Callable[..., EngineProcess]


def params(**fake: Any) -> dict[str, Any]:
    limits = Limits(allow_fake=True)
    return resolve(
        "chat", "chat", "chat", "fast", {"prompt": "p", "fake": fake}, limits=limits
    ).params


async def begun(engine: EngineProcess, run_id: str = "run", **fake: Any) -> "asyncio.Task[Any]":
    """Start a long run and wait for its first step."""
    first = asyncio.Event()

    def progress(report: StepReport) -> None:
        first.set()

    wanted = params(**{"steps": 100_000, "step_s": 0.01, **fake})
    run = asyncio.create_task(engine.run(run_id, "chat", wanted, progress))
    await first.wait()
    return run


async def test_a_killed_engine_is_lost_with_its_runs(start_engine: StartEngine) -> None:
    """Each run hears how the engine ended, when nothing of its group is left."""
    engine = await start_engine(max_concurrent=2, options={"child": STUBBORN})
    runs = [await begun(engine, f"run {number}") for number in range(2)]
    assert engine.group is not None

    os.kill(engine.group, signal.SIGKILL)
    ends = await asyncio.gather(*runs, return_exceptions=True)

    assert [EngineLostError] * 2 == [type(end) for end in ends]
    assert "was killed by SIGKILL" in str(ends[0])
    assert members(engine.group) == []
    end = await engine.ended()
    assert "was killed by SIGKILL" in end.reason
    assert end.loss is Loss.KILLED


async def test_a_fast_loop_cannot_flood_the_daemon(start_engine: StartEngine) -> None:
    """Of steps that come faster than they can be of use, the latest is sent."""
    engine = await start_engine()
    steps: list[StepReport] = []

    await engine.run("run", "chat", params(steps=50_000), steps.append)

    assert len(steps) < 5_000
    assert steps[-1].fraction == 1.0


async def test_a_crash_in_a_run_is_told_with_its_status(start_engine: StartEngine) -> None:
    """The daemon goes on; the reason names the exit status."""
    engine = await start_engine()

    with pytest.raises(EngineLostError, match="the chat engine exited with status 3"):
        await engine.run("run", "chat", params(crash=3), lambda report: None)


async def test_a_broken_device_ends_the_engine(start_engine: StartEngine) -> None:
    """After such an error no run could succeed: the engine ends itself and says why."""
    engine = await start_engine()

    with pytest.raises(EngineLostError, match="its device is broken: RuntimeError: CUDA error"):
        await engine.run("run", "chat", params(broken=True), lambda report: None)


async def test_an_engine_that_ignores_a_cancellation_is_killed(start_engine: StartEngine) -> None:
    """After the bound it costs the whole engine: a place on the GPU can't be held for ever."""
    engine = await start_engine(max_concurrent=2, limits=EngineLimits(60, 0.2))
    ignoring = await begun(engine, "ignoring", ignore_cancel=True)
    other = await begun(engine, "other")

    ignoring.cancel()
    ends = await asyncio.gather(ignoring, other, return_exceptions=True)

    assert [asyncio.CancelledError, EngineLostError] == [type(end) for end in ends]
    end = await engine.ended()
    assert "did not stop a run within 0.2 s" in end.reason
    assert end.loss is Loss.HUNG


async def test_stop_ends_the_whole_group(start_engine: StartEngine) -> None:
    """Also a child that ignores SIGTERM, as those of an inference server may."""
    engine = await start_engine(options={"child": STUBBORN})
    run = await begun(engine)
    assert engine.group is not None
    assert len(members(engine.group)) == 3  # the engine, its guard, the child

    await engine.stop()

    assert members(engine.group) == []
    assert isinstance((await asyncio.gather(run, return_exceptions=True))[0], Exception)


async def test_stopping_twice_or_before_the_start_is_no_error(new_engine: NewEngine) -> None:
    """The owner needn't know how far it had come."""
    engine = new_engine()

    await asyncio.gather(engine.stop(), engine.stop())

    with pytest.raises(EngineLostError, match="was stopped"):
        await engine.load()


async def test_a_failed_load_is_a_job_error(new_engine: NewEngine) -> None:
    """The engine's sentence and code reach the caller; the process is gone."""
    engine = new_engine(options={"load_fail": "no such weights"})

    with pytest.raises(JobError, match="no such weights") as caught:
        await engine.load()

    assert caught.value.error_code is ErrorCode.MODEL_LOAD_FAILED
    assert engine.group is not None
    assert members(engine.group) == []


async def test_a_crash_while_loading_is_a_lost_engine(new_engine: NewEngine) -> None:
    """A load that dies is told apart from one that fails."""
    with pytest.raises(EngineLostError, match="exited with status 9"):
        await new_engine(options={"load_crash": 9}).load()


async def test_a_load_is_bounded(new_engine: NewEngine) -> None:
    """A load that hangs ends with its bound in the message."""
    engine = new_engine(options={"load_s": 600}, limits=EngineLimits(load_s=0.5))

    with pytest.raises(JobError, match=r"the chat engine did not load within 0\.5 s"):
        await engine.load()


async def test_a_cancelled_load_leaves_nothing(new_engine: NewEngine) -> None:
    """The call ends when the process is gone."""
    started = asyncio.Event()
    engine = new_engine(
        runner="fake",
        options={"child": [sys.executable, "-c", "print('up')"], "load_s": 600},
        log=lambda line: started.set(),
    )
    load = asyncio.create_task(engine.load())
    await started.wait()
    assert engine.group is not None

    load.cancel()
    ends = await asyncio.gather(load, return_exceptions=True)

    assert [asyncio.CancelledError] == [type(end) for end in ends]
    assert members(engine.group) == []


async def test_output_goes_to_the_log_and_its_end_is_kept(
    start_engine: StartEngine, tmp_path: Path
) -> None:
    """Line by line, whoever of the group wrote it, a line without an end included."""
    lines: list[str] = []
    written = tmp_path / "written"
    program = (
        "import pathlib, sys; print('first', flush=True); sys.stderr.write('bar\\rlast');"
        f"sys.stderr.flush(); pathlib.Path({str(written)!r}).touch()"
    )

    engine = await start_engine(
        options={"child": [sys.executable, "-c", program]}, log=lines.append
    )
    await eventually(written.exists, what="the child has written")
    await engine.stop()

    assert {"first", "bar", "last"} == set(lines)
    assert lines == engine.last_lines


async def test_a_flood_of_output_holds_up_nobody(start_engine: StartEngine) -> None:
    """It is read slowly and left out, its size is told, and the engine serves on beside it."""
    lines: list[str] = []
    began = time.monotonic()
    engine = await start_engine(options={"child": ["yes", "flood"]}, log=lines.append)

    run = await begun(engine, steps=50)
    output = await run
    await engine.stop()

    assert output.fields["response"] == "You said: p"
    assert len(lines) < 2 * BURST_BYTES / LINE_COSTS_BYTES
    left_out = sum(
        int(line.split()[0].strip("(").replace(",", "")) for line in lines if "left out" in line
    )
    assert 0 < left_out / (time.monotonic() - began) < 10e6


async def test_an_engine_sees_no_secrets(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys, tokens and connection strings of the daemon aren't in its environment."""
    secret = "s3cr3t-value"
    for name in (
        "SUPABASE_SERVICE_ROLE_KEY", "WORKER_API_KEY", "DATABASE_URL", "OURVIDZ_DATABASE__DSN",
        "HF_TOKEN", "PGPASSWORD", "SOMETHING_NEW",
    ):  # fmt: skip
        monkeypatch.setenv(name, secret)
    engine = await start_engine()

    environment = await asyncio.to_thread(_environment_of, engine.group)

    assert secret not in environment
    assert "HF_HUB_OFFLINE=1" in environment


def _environment_of(process: int | None) -> str:
    return Path(f"/proc/{process}/environ").read_text()


_DAEMON = """
import asyncio, os
from daemon.engines.process import EngineProcess
from daemon.engines.surroundings import engine_environment
from handlers.base import ModelSpec

async def main():
    options = {"child": ["sleep", "600"]}
    spec = ModelSpec("chat", "small", "", "fake", device="cpu", options=options)
    engine = EngineProcess(spec, engine_environment(os.environ), print)
    await engine.load()
    print(engine.group, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("stuck", [False, True])
def test_no_engine_outlives_a_killed_daemon(stuck: bool) -> None:
    """SIGKILL gives the daemon no chance; the guard ends the group, even of a stuck engine."""
    with subprocess.Popen([sys.executable, "-c", _DAEMON], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        group = int(daemon.stdout.readline())
        watched = [os.pidfd_open(process) for process in members(group)]
        assert len(watched) == 3
        if stuck:
            os.kill(group, signal.SIGSTOP)

        daemon.kill()

        for process in watched:
            assert select.select([process], [], [], 60)[0]
            os.close(process)
    assert members(group) == []


def test_the_daemon_imports_no_model_library() -> None:
    """Everything that the daemon imports of engines and handlers stays light."""
    program = (
        "import sys, daemon.engines.factory, handlers.params;"
        "print([name for name in ('torch', 'transformers', 'diffusers', 'PIL', 'av', 'numpy')"
        " if name in sys.modules])"
    )

    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    ).stdout

    assert printed == "[]\n"
