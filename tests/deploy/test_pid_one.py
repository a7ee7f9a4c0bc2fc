"""The worker in a container's place: a namespace of processes of its own, tini as PID 1."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import parts
import pytest
import pytest_asyncio
from daemon_process import Daemon
from deploy_files import instructions
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

_OWN = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def needed() -> list[str]:
    """Return what makes the namespace, and the image's entry point in it."""
    if shutil.which("tini") is None:
        parts.missing("tini isn't installed")
    ways = (list(_OWN), [*_OWN, "--user", "--map-root-user"])
    command = next((way for way in ways if subprocess.call([*way, "true"]) == 0), None)
    if command is None:
        parts.missing("no namespace of processes can be made")
    [entry] = [rest for name, rest in instructions() if name == "ENTRYPOINT"]
    init, dashes, _, *arguments = json.loads(entry)
    assert dashes == "--"
    return [*command, Path(init).name, dashes, sys.executable, *arguments]


def children(pid: int) -> list[int]:
    """Return a process's children."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def zombies(pid: int) -> int:
    """Count the children that wait to be reaped."""
    return sum(") Z " in Path(f"/proc/{each}/stat").read_text() for each in children(pid))


@pytest_asyncio.fixture(loop_scope="session")
async def worker(direct: Project, tmp_path: Path) -> AsyncIterator[Daemon]:
    """A worker whose first process is PID 1 of its namespace."""
    # An orphan of an engine's: what PID 1 has to reap.
    orphan = tmp_path / "orphan"
    orphan.write_text(f"#!/bin/sh\n(sleep 0.3; touch {tmp_path}/over) &\n")
    orphan.chmod(0o755)
    leaves = {"OURVIDZ_MODELS__CHAT__OPTIONS__CHILD": str(orphan)}
    made = Daemon(tmp_path / "container", {**direct.environment, **leaves})
    made._command = [*needed(), "--port", str(made.port)]
    await made.start()
    try:
        await made.until_ready()
        yield made
    finally:
        await made.clear_away()


async def test_a_container_s_stop_drains(worker: Daemon, direct: Project) -> None:
    """SIGTERM to PID 1 reaches the worker alone; the running job completes, the status is 0."""
    [init] = children(worker.process.pid)
    job = await direct.insert("chat", steps=30, step_s=0.1)
    await direct.until_running(job)

    os.kill(init, signal.SIGTERM)

    assert await worker.ended() == 0
    row = await direct.database.row(job)
    assert (row["status"], row["attempts"]) == ("completed", 1)
    assert worker.processes() == []


async def test_what_engines_leave_is_reaped(
    worker: Daemon, direct: Project, tmp_path: Path
) -> None:
    """No zombie stays, however many engines came and went."""
    [init] = children(worker.process.pid)
    await direct.until(await direct.insert("chat"), "completed")
    await eventually((tmp_path / "over").exists, what="the orphan has ended")
    await eventually(lambda: len(children(init)) == 1, what="all are reaped")
    [daemon] = children(init)
    assert zombies(daemon) == 0
