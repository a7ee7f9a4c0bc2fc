"""Every fault that an engine can have, all at once, under one daemon: only culprits pay."""

import contextlib
import json
import os
import random
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import FINISHED, Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

HANG_FLOOR_S = 4.0
"""An engine that a busy machine lets wait for so long would be taken for hung, wrongly."""

WITHIN_S = 180.0
"""A busy machine may take so long for what takes a sixth of it."""


WAN_SLEEPS = "86399.5"
"""By this argument the process is found that lives beside wan, and so wan's engine."""


class Kind(NamedTuple):
    """Jobs of one kind: how many, how each run goes, how each ends, and how many engines with it.

    `losses` is the most that a job may lose; one that fails by its engines has lost just so many.
    """

    count: int
    job_type: str
    fake: Mapping[str, Any] = {}
    error_code: str | None = None
    losses: int = 0
    saving: str | None = None


KINDS = (
    # Those beside a killer lose an engine, once: from then on they run alone.
    Kind(14, "chat", losses=1),
    Kind(2, "chat", {"crash": 3}, "GENERATION_FAILED", losses=2),
    Kind(2, "chat", {"broken": True}, "GENERATION_FAILED", losses=2),
    # Nobody harms these but themselves.
    Kind(8, "sdxl_image_fast", {"steps": 4}),
    Kind(2, "sdxl_image_high", {"oom_until_saving": 1}, saving="tiled"),
    Kind(1, "sdxl_image_fast", {"oom_until_saving": 2}, saving="offloaded"),
    Kind(1, "sdxl_image_fast", {"oom_until_saving": 3}, "VRAM_OVERFLOW"),
    Kind(2, "sdxl_image_fast", {"fail": "no picture"}, "GENERATION_FAILED"),
    # An engine of theirs is killed from outside, once.
    Kind(12, "wan_image_fast", {"steps": 4, "step_s": 0.05}, losses=1),
    Kind(4, "wan_image_high", {"steps": 4, "step_s": 0.05}, losses=1),
    # One at a time: a run that hangs has nobody beside it.
    Kind(4, "video_fast", {"steps": 4}),
    Kind(1, "video_fast", {"steps": 1, "step_s": 600}, "GENERATION_FAILED", losses=2),
)


def faults_of_loads(folder: Path) -> dict[str, str]:
    """Write down what the first load of two models does, and return the settings for all.

    The crash is made good by a second engine, the overflow by the device for itself.
    """
    settings = {"OURVIDZ_DEVICE__SIMULATE_GB": "24"}
    for model in ("CHAT", "SDXL", "WAN", "VIDEO"):
        options = f"OURVIDZ_MODELS__{model}__OPTIONS__"
        settings[f"{options}LOAD_FAULT"] = str(folder / model)
        settings[f"{options}CLOSE_S"] = "0.2"
    beside = folder / "beside"
    beside.write_text(f"#!/bin/sh\nexec sleep {WAN_SLEEPS}\n")
    beside.chmod(0o755)
    settings["OURVIDZ_MODELS__WAN__OPTIONS__CHILD"] = str(beside)
    settings["OURVIDZ_MODELS__VIDEO__OPTIONS__HANG_FLOOR_S"] = str(HANG_FLOOR_S)
    (folder / "WAN").write_text("crash")
    (folder / "VIDEO").write_text("oom")
    return settings


async def inserted(project: Project) -> dict[UUID, Kind]:
    """Insert all jobs, in an order of their own that is the same each time."""
    kinds = [kind for kind in KINDS for _ in range(kind.count)]
    random.Random(7).shuffle(kinds)
    return {await project.insert(kind.job_type, **kind.fake): kind for kind in kinds}


async def strike(project: Project, worker: Daemon) -> None:
    """Kill wan's engine once, as the kernel would, when a job of wan has told of a step."""
    running = "select count(*) from jobs where job_type like 'wan%' and progress > 0"
    await eventually(lambda: project.database.owner.fetchval(running), WITHIN_S)

    def killed() -> bool:
        beside = [pid for pid in worker.processes() if argument_of(pid) == WAN_SLEEPS.encode()]
        for pid in beside:
            with contextlib.suppress(ProcessLookupError):
                os.kill(os.getpgid(pid), signal.SIGKILL)
                return True
        return False

    # It may just have been put away for another model.
    await eventually(killed, WITHIN_S)


def argument_of(pid: int) -> bytes:
    """Return the second word of a process's command line."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1]
    return b""


async def assert_as_it_must(project: Project, job: UUID, kind: Kind) -> set[str]:
    """Check how one job ended, and by which runs; return its files."""
    row, runs = await project.database.row(job), await project.database.runs(job)
    told = f"{kind}: {dict(row)}, {[dict(run) for run in runs]}"
    status = "failed" if kind.error_code else "completed"
    assert (row["status"], row["error_code"], row["attempts"]) == (status, kind.error_code, 1), told
    losses = sum(run["engine_lost"] for run in runs)
    assert losses == kind.losses if kind.error_code else losses <= kind.losses, told
    assert [run["outcome"] for run in runs if run["outcome"] != "released"] == [status], told
    if status == "failed":
        return set()
    result = json.loads(row["result"])
    assert result.get("metadata", {}).get("saving") == kind.saving, told
    return {f"{each['bucket']}/{each['path']}" for each in result.get("artifacts", [])}


async def assert_all_comes_back(worker: Daemon) -> None:
    """Nothing runs, waits, leaks or backs off; without engines every byte is free."""

    async def idle() -> dict[str, Any] | None:
        scheduler: dict[str, Any] = (await worker.get("/status"))[1]["scheduler"]
        [device] = scheduler["devices"]
        runs = [run for placement in device["placements"] for run in placement["runs"]]
        return None if runs or scheduler["waiting"] else scheduler

    scheduler = await eventually(idle)
    assert scheduler is not None
    assert scheduler["back_offs"] == []
    [device] = scheduler["devices"]
    assert [each["reserved_bytes"] for each in device["placements"] if each["reserved_bytes"]] == []
    for engine in worker.engines():
        with contextlib.suppress(ProcessLookupError):
            os.kill(engine, signal.SIGKILL)

    async def empty() -> bool:
        [device] = (await worker.get("/status"))[1]["scheduler"]["devices"]
        usable = device["capacity_bytes"] - device["reserve_bytes"]
        return not device["placements"] and device["free_bytes"] == usable

    await eventually(empty)


async def test_only_culprits_pay(direct: Project, daemon: StartDaemon, tmp_path: Path) -> None:
    """Each job ends as it must, and once; its files are there and no others; all memory is back."""
    async with daemon(direct, **faults_of_loads(tmp_path)) as worker:
        jobs = await inserted(direct)
        await strike(direct, worker)

        async def over() -> bool:
            open_jobs = "select count(*) from jobs where status <> all($1::text[])"
            return await direct.database.owner.fetchval(open_jobs, [*FINISHED]) == 0

        await eventually(over, WITHIN_S)
        await direct.assert_nothing_held()
        files = [await assert_as_it_must(direct, job, kind) for job, kind in jobs.items()]
        assert direct.files is not None
        there = [path for path in direct.files.rglob("*") if path.is_file()]
        assert {str(path.relative_to(direct.files)) for path in there} == set().union(*files)
        await assert_all_comes_back(worker)
