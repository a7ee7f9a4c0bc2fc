"""A GPU's memory as its driver tells it: what others take of it, and what the worker itself has."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]
GIB = 2**30
DRIVER = Path(__file__).parents[2] / "support" / "driver"


class Gpu:
    """A worker's GPU of 24 GB; the driver itself takes half of the reserve."""

    def __init__(self, worker: Daemon, file: Path) -> None:
        self._worker = worker
        self._file = file
        self._told = {"name": "GPU A", "driver": "550.1", "total": 24 * GIB, "used": GIB // 2}
        self.tell()
        environment = worker.environment
        environment["GPU_FILE"] = str(file)
        environment["PYTHONPATH"] = f"{DRIVER}:{environment['PYTHONPATH']}"
        del environment["OURVIDZ_DEVICE__SIMULATE_GB"]

    def tell(self, **told: Any) -> None:
        """Let the driver tell something else from now on."""
        self._told |= told
        unfinished = self._file.with_suffix(".new")
        unfinished.write_text(json.dumps(self._told))
        unfinished.replace(self._file)

    async def others_use(self, n_bytes: int) -> None:
        """Let others use so many bytes, and wait until the worker has seen it."""
        own = sum(each["weights_bytes"] for each in (await self.device())["placements"])
        self.tell(used=GIB + own + n_bytes)

        async def seen() -> bool:
            return bool((await self.device())["outside_bytes"] == n_bytes)

        await eventually(seen, what=f"{n_bytes} bytes of others")

    async def scheduler(self) -> dict[str, Any]:
        """Return the scheduler's part of the status."""
        scheduler: dict[str, Any] = (await self._worker.get("/status"))[1]["scheduler"]
        return scheduler

    async def device(self) -> dict[str, Any]:
        """Return what the device holds."""
        [device] = (await self.scheduler())["devices"]
        return dict(device)


async def test_what_others_take_is_seen_and_waited_for(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """All of it: nothing starts, loads or goes, who waits is told why; then it goes on."""
    worker = daemon(direct)
    gpu = Gpu(worker, tmp_path / "gpu.json")
    async with worker:
        await direct.until(await direct.insert("sdxl_image_fast"), "completed")
        engines = worker.engines()
        # What the worker's own engine holds is nobody else's.
        await gpu.others_use(2 * GIB)
        await gpu.others_use(0)
        await gpu.others_use(24 * GIB)
        jobs = [await direct.insert(kind) for kind in ("sdxl_image_fast", "chat", "video_high")]

        async def all_wait() -> list[str] | None:
            lanes = (await gpu.scheduler())["lanes"]
            return [lane["why"] for lane in lanes] if len(lanes) == len(jobs) else None

        for why in await eventually(all_wait) or ():
            assert "other programs (24 GB)" in why
        await gpu.others_use(24 * GIB + 1)
        assert [await direct.status(job) for job in jobs] == ["processing"] * len(jobs)
        assert worker.engines() == engines
        assert worker.log.count("model loaded") == 1

        await gpu.others_use(0)
        for job in jobs:
            await direct.until(job, "completed")
        await direct.assert_nothing_held()


async def test_what_was_learned_on_another_gpu_begins_anew(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """Its name and its driver's version are told."""
    for told in ({}, {"name": "GPU B", "driver": "560.9"}):
        worker = daemon(direct)
        gpu = Gpu(worker, tmp_path / "gpu.json")
        gpu.tell(**told)
        async with worker:
            assert (await gpu.scheduler())["learned_since"] == {}
            await direct.until(await direct.insert("chat"), "completed")
            assert await worker.stop() == 0
    changed = "driver was 550.1, is 560.9; gpu was GPU A, is GPU B"
    assert f"learned figures of chat begin anew: {changed}" in worker.log


async def test_a_gpu_that_comes_later_disturbs_nobody(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """A driver that was away for a moment may find more: that is for the next start."""
    worker = daemon(direct)
    gpu = Gpu(worker, tmp_path / "gpu.json")
    async with worker:
        gpu.tell(used="lost")
        await eventually(lambda: "no GPU figures" in worker.log)
        gpu.tell(count=2)
        await gpu.others_use(GIB)
        await gpu.others_use(2 * GIB)

        await direct.until(await direct.insert("chat"), "completed")
