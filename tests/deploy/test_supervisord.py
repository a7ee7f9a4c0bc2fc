"""The real supervisord with the shipped configuration: start, restart, reload, drain."""

import asyncio
import configparser
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from daemon_process import Daemon
from deploy_files import DEPLOY
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAME = "ourvidz-worker"


class Supervisor:
    """supervisord, and supervisorctl beside it."""

    def __init__(self, configuration: Path, worker: Daemon) -> None:
        self.worker = worker
        self._configuration = configuration

    async def ctl(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self._configuration)),
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await process.communicate()
        return told.decode()

    async def pid(self) -> int:
        """Return the worker's process id; 0: it isn't running."""
        told = (await self.ctl("pid", NAME)).strip()
        return int(told) if told.isdigit() else 0

    async def until_ready(self) -> int:
        async def ready() -> bool:
            return (await self.worker.get("/ready"))[0] == 200

        await eventually(ready, what="the worker takes jobs")
        return await self.pid()


def configured(folder: Path, worker: Daemon) -> Path:
    """Write the shipped configuration with paths of the test's own, and no other user."""
    shipped = (DEPLOY / "supervisord.conf").read_text()
    for path in ("/var/log/ourvidz-worker", "/var/lib/ourvidz-worker", "/run"):
        shipped = shipped.replace(path, str(folder))
    found = configparser.ConfigParser(interpolation=None)
    found.read_string(shipped)
    program = found[f"program:{NAME}"]
    command = program["command"]
    assert command.startswith("/opt/ourvidz-worker/venv/bin/python ")
    program["command"] = f"{sys.executable} {command.partition(' ')[2]} --port {worker.port}"
    del program["user"]
    (folder / "credentials").mkdir(parents=True)
    program["environment"] = program["environment"].replace(
        "/etc/ourvidz-worker/credentials", str(folder / "credentials")
    )
    target = folder / "supervisord.conf"
    with target.open("w") as file:
        found.write(file)
    return target


@asynccontextmanager
async def supervisord(direct: Project, folder: Path, **settings: str) -> AsyncIterator[Supervisor]:
    """Run it in the foreground, as a container does."""
    worker = Daemon(folder, {**direct.environment, **settings})
    configuration = configured(folder, worker)
    # The secret comes as a file, as the configuration says.
    (folder / "credentials" / "database_url").write_text(worker.environment.pop("DATABASE_URL"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)),
        env=worker.environment,
        cwd=folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    worker._process = process
    try:
        yield Supervisor(configuration, worker)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        await eventually(lambda: not worker.processes(), what="no process is left")


async def test_the_worker_is_started_and_started_again(direct: Project, tmp_path: Path) -> None:
    """After a kill too: its job runs once more."""
    async with supervisord(direct, tmp_path / "s") as supervisor:
        first = await supervisor.until_ready()
        assert first
        hold = tmp_path / "hold"
        job = await direct.insert("chat", hold=str(hold))
        await direct.until_running(job)

        os.kill(first, signal.SIGKILL)
        hold.touch()

        async def another() -> bool:
            return await supervisor.pid() not in {0, first}

        await eventually(another, what="supervisord starts it again")
        row = await direct.until(job, "completed")
        assert row["attempts"] == 2


async def test_a_stop_drains(direct: Project, tmp_path: Path) -> None:
    """The running job completes, and a stop that was asked for isn't undone."""
    async with supervisord(direct, tmp_path / "s") as supervisor:
        await supervisor.until_ready()
        job = await direct.insert("chat", steps=30, step_s=0.1)
        await direct.until_running(job)
        queued = await direct.insert("video_fast", steps=900, step_s=0.1)

        told = await supervisor.ctl("stop", NAME)

        assert "stopped" in told
        row = await direct.database.row(job)
        assert (row["status"], row["attempts"]) == ("completed", 1)
        row = await direct.database.row(queued)
        assert (row["status"], row["attempts"]) == ("queued", 0)
        assert "STOPPED" in await supervisor.ctl("status", NAME)
        await direct.assert_nothing_held()


async def test_a_reload_goes_through_to_the_worker(direct: Project, tmp_path: Path) -> None:
    """`supervisorctl signal HUP`; the process stays."""
    config = tmp_path / "worker.toml"
    config.write_text("max_held = 5")
    async with supervisord(direct, tmp_path / "s", OURVIDZ_CONFIG=str(config)) as supervisor:
        first = await supervisor.until_ready()
        config.write_text("max_held = 6")
        await supervisor.ctl("signal", "HUP", NAME)
        log = tmp_path / "s" / "worker.log"
        await eventually(lambda: "settings taken up: max_held" in log.read_text())
        assert await supervisor.pid() == first
