"""What a worker has learned is there again after a restart and a reload, if it still holds."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]
MIB = 2**20
SLOW_LOADS = {"OURVIDZ_MODELS__SDXL__LOAD_S": "500"}
"""So that the first measured load moves the expectation a long way."""


async def scheduler_of(worker: Daemon) -> dict[str, Any]:
    """Return the scheduler's part of the status."""
    scheduler: dict[str, Any] = (await worker.get("/status"))[1]["scheduler"]
    return scheduler


def load_s(scheduler: dict[str, Any]) -> float:
    """Return what a load of sdxl is expected to take."""
    return next(each["load_s"] for each in scheduler["moves"] if each["model"] == "sdxl")


async def learn(project: Project, worker: Daemon) -> dict[str, Any]:
    """Let a worker learn what a class takes; return the scheduler's part of its status."""
    for _ in range(8):
        job = await project.insert("sdxl_image_fast", peak=96 * MIB)
        await project.until(job, "completed")

    async def learned() -> dict[str, Any] | None:
        scheduler = await scheduler_of(worker)
        return scheduler if scheduler["coverage"][0]["runs"] == 8 else None

    scheduler = await eventually(learned)
    assert scheduler is not None
    [reservation] = scheduler["reservations"]
    assert 90 * MIB < reservation["reserved_bytes"] < 200 * MIB
    return scheduler


def file_of(worker: Daemon) -> Path:
    """Return where the worker keeps what it learns."""
    return Path(worker.environment["HOME"]) / ".local/state/ourvidz-worker/learned.json"


async def test_a_restarted_worker_begins_with_it(direct: Project, daemon: StartDaemon) -> None:
    """Reservations and moves, before anything has run; and it goes by them."""
    async with daemon(direct, **SLOW_LOADS) as worker:
        before = await learn(direct, worker)
        assert load_s(before) < 500
        assert await worker.stop() == 0
    async with daemon(direct, **SLOW_LOADS) as worker:
        after = await scheduler_of(worker)

        assert after["reservations"] == before["reservations"]
        assert after["moves"] == before["moves"]
        assert list(after["learned_since"]) == ["sdxl"]
        assert "figures learned before are taken up: sdxl" in worker.log
        job = await direct.insert("sdxl_image_fast", steps=1000, step_s=0.1)
        await direct.until_running(job)
        [device] = (await scheduler_of(worker))["devices"]
        [placement] = device["placements"]
        assert placement["reserved_bytes"] == before["reservations"][0]["reserved_bytes"]
        await direct.database.owner.execute("select cancel_job($1)", job)
        await direct.until(job, "cancelled")


async def test_a_reload_keeps_it(direct: Project, daemon: StartDaemon, tmp_path: Path) -> None:
    """Although the parts are built anew; other weights begin anew there too."""
    config = tmp_path / "worker.toml"
    config.write_text("max_pass_over_s = 800")
    async with daemon(direct, OURVIDZ_CONFIG=str(config), **SLOW_LOADS) as worker:
        before = await learn(direct, worker)

        config.write_text("max_pass_over_s = 700\n[models.wan]\nenabled = false")
        worker.signal(signal.SIGHUP)
        await eventually(lambda: worker.log.count("taking jobs:") == 2)
        after = await scheduler_of(worker)
        assert after["reservations"] == before["reservations"]
        assert load_s(after) == load_s(before)
        assert "sdxl" in after["learned_since"]

        config.write_text('[models.sdxl]\ndtype = "float32"')
        worker.signal(signal.SIGHUP)
        await eventually(lambda: worker.log.count("taking jobs:") == 3)
        other = await scheduler_of(worker)
        assert (other["reservations"], load_s(other)) == ([], 500)
        assert "begin anew: dtype was auto, is float32" in worker.log


async def test_other_weights_begin_anew(direct: Project, daemon: StartDaemon) -> None:
    """The line says what is different."""
    async with daemon(direct) as worker:
        await learn(direct, worker)
        assert await worker.stop() == 0
    async with daemon(direct, OURVIDZ_MODELS__SDXL__PATH="some/other") as worker:
        after = await scheduler_of(worker)

        assert after["reservations"] == []
        assert "learned figures of sdxl begin anew: files was none" in worker.log
        assert "path was , is some/other" in worker.log


async def test_a_killed_worker_loses_only_the_last_minute(
    direct: Project, daemon: StartDaemon
) -> None:
    """What was in the file stays whole, and is taken up; nothing unfinished lies about."""
    async with daemon(direct) as worker:
        before = await learn(direct, worker)
        assert await worker.stop() == 0
    async with daemon(direct) as worker:
        await direct.until(await direct.insert("chat"), "completed")
        await worker.kill()
        await worker.clear_away()
    async with daemon(direct) as worker:
        assert (await scheduler_of(worker))["reservations"] == before["reservations"]
        assert not list(file_of(worker).parent.glob(".learned.json*"))


@pytest.mark.parametrize(
    "content",
    [b"", b'{"version": 1, "models": {"sdxl": ', b'{"version": 9}', b"\xff\xfe" * 100],
    ids=["empty", "cut off", "newer", "garbage"],
)
async def test_a_broken_file_stops_nobody(
    direct: Project, daemon: StartDaemon, content: bytes
) -> None:
    """One line in the log, and after the next stop the file is right again."""
    worker = daemon(direct)
    file = file_of(worker)
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    async with worker:
        [line] = [each for each in worker.log.splitlines() if str(file) in each]
        assert "what was learned before is ignored, and begins anew" in line
        await direct.until(await direct.insert("chat"), "completed")
        assert await worker.stop() == 0
    assert set(json.loads(file.read_text())["models"]) == {"chat"}


async def test_a_place_that_cannot_be_written_stops_nobody(
    direct: Project, daemon: StartDaemon
) -> None:
    """Root may write anywhere, but not where a folder is: as with a disk that is read-only."""
    worker = daemon(direct)
    (file_of(worker) / "in-the-way").mkdir(parents=True)
    async with worker:
        await direct.until(await direct.insert("chat"), "completed")
        assert await worker.stop() == 0
    assert "what is learned can't be kept in" in worker.log
    assert "is ignored, and begins anew" in worker.log
