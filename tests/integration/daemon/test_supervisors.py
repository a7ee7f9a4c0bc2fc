"""What systemd hears of the daemon, and what becomes of one that hangs."""

import asyncio
import os
import pty
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon_process import Daemon
from eventually import eventually
from notify_socket import NotifySocket
from projects import Project

from daemon.exit_codes import DEFECT

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]


async def test_each_state_is_told(direct: Project, daemon: StartDaemon, tmp_path: Path) -> None:
    """Ready when jobs are taken, reloading and ready again, stopping at the signal."""
    config = tmp_path / "worker.toml"
    config.write_text("max_held = 5")
    async with NotifySocket(tmp_path) as heard:
        worker = daemon(direct, NOTIFY_SOCKET=heard.address, OURVIDZ_CONFIG=str(config))
        async with worker:
            await heard.until("READY=1")
            for n, text in enumerate(("max_held = 6", "max_held = 0", "max_pass_over_s = 901"), 1):
                config.write_text(text)
                worker.signal(signal.SIGHUP)
                await heard.until("READY=1", *["RELOADING=1", "READY=1"] * n)
            assert "wrong" in str(heard.notices)
            await worker.stop()
        await heard.until("READY=1", *["RELOADING=1", "READY=1"] * 3, "STOPPING=1", "STOPPING=1")
    [first, *_] = [notice for notice in heard.notices if notice[0] == "RELOADING=1"]
    assert first[1].startswith("MONOTONIC_USEC=")
    # Engines inherit no socket, so that they can't speak for the unit.
    assert heard.feeds == 0


async def test_a_loop_that_hangs_feeds_no_watchdog(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """A job that blocks the loop for ever: systemd ends the worker, and the next one takes over."""
    in_the_loop = {
        "OURVIDZ_MODELS__CHAT__OPTIONS__INLINE": "true",
        "OURVIDZ_MODELS__CHAT__OPTIONS__THREADS": "false",
    }
    async with NotifySocket(tmp_path) as heard:
        worker = daemon(direct, NOTIFY_SOCKET=heard.address, WATCHDOG_USEC="400000", **in_the_loop)
        await worker.start()
        await worker.until_ready()
        await eventually(lambda: heard.feeds >= 5)
        job = await direct.insert("chat", steps=8, step_s=600)
        await direct.until(job, "processing")

        # As systemd does: so long without a notice, and the process gets SIGABRT.
        async def starved() -> bool:
            before = heard.feeds
            await asyncio.sleep(2.0)
            return heard.feeds == before

        await eventually(starved, what="the watchdog starves")
        assert (await worker.get("/health", within_s=5))[0] is None
        worker.signal(signal.SIGABRT)
        assert await worker.ended() == -signal.SIGABRT
        worker.expects_defects = True
        await eventually(lambda: not worker.processes())

    async with daemon(direct):
        # The row says "processing" all the while: of the dead worker's claim, then of this one's.
        async def again() -> bool:
            return bool((await direct.database.row(job))["attempts"] == 2)

        await eventually(again)
        await direct.database.owner.execute("select cancel_job($1)", job)
        await direct.until(job, "cancelled")


async def test_a_drain_and_a_rebuild_feed_the_watchdog(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """Through all of a reload that waits for a job and for the database, it is fed."""
    config = tmp_path / "worker.toml"
    config.write_text("")
    lock = "begin; lock table ourvidz_migrations in access exclusive mode"
    async with NotifySocket(tmp_path) as heard, direct.database.session() as blocker:
        environment = {
            "NOTIFY_SOCKET": heard.address,
            "WATCHDOG_USEC": "400000",
            "OURVIDZ_DATABASE__STATEMENT_TIMEOUT_S": "1",
        }
        async with daemon(direct, OURVIDZ_CONFIG=str(config), **environment) as worker:
            job = await direct.insert("chat", steps=20, step_s=0.1)
            await direct.until_running(job)
            config.write_text("max_pass_over_s = 901")
            await blocker.execute(lock)
            worker.signal(signal.SIGHUP)
            await eventually(lambda: "engines that live on" in worker.log)
            before = heard.feeds
            await eventually(lambda: heard.feeds > before + 5)
            await blocker.execute("commit")
            await heard.until("READY=1", "RELOADING=1", "READY=1")
            before = heard.feeds
            await eventually(lambda: heard.feeds > before + 5)


async def test_a_defect_has_a_status_of_its_own(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """Nobody's mistake: whoever supervises the worker starts it again."""
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import daemon.building\n"
        "def build(*_):\n"
        "    raise RuntimeError('a defect')\n"
        "daemon.building.build = build\n"
    )
    worker = daemon(direct)
    worker.environment["PYTHONPATH"] = f"{tmp_path}:{worker.environment['PYTHONPATH']}"
    worker.expects_defects = True
    await worker.start()
    assert await worker.ended() == DEFECT
    assert "RuntimeError: a defect" in worker.log


async def test_a_terminal_that_goes_takes_its_worker_along(
    direct: Project, daemon: StartDaemon
) -> None:
    """SIGHUP in a terminal is a reload while the terminal is there, and a stop when it is gone."""
    worker = daemon(direct)
    ours, theirs = pty.openpty()
    worker.log_path.parent.mkdir(exist_ok=True)
    with worker.log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            # As a shell does: a session whose terminal this is.
            "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
            "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])",
            *("-m", "daemon", "--port", str(worker.port)),
            env=worker.environment,
            cwd=worker.log_path.parent,
            stdin=theirs,
            stdout=log,
            stderr=log,
        )
    worker._process = process
    os.close(theirs)
    await worker.until_ready()
    worker.signal(signal.SIGHUP)
    await eventually(lambda: "settings read: they are as before" in worker.log)

    os.close(ours)

    assert await worker.ended() == 0
    assert "stopping: taking no more jobs" in worker.log
    worker.assert_clean()
