"""Where a job's time went, and when it will end: in its row, in the status, in the metrics."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from daemon_process import TAKING_TURNS, Daemon
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

TOLERANCE_S = 1.5
"""What no timing says: the way of the result to the row. It takes a few milliseconds, on a busy
machine more; each phase takes longer than this, so that none could be forgotten."""


def timings_of(row: Any) -> dict[str, float]:
    """Return a completed row's timings, which add up to its whole time."""
    timings: dict[str, float] = json.loads(row["result"])["timings"]
    assert set(timings) == {"wake_up", "queue", "vram", "switch", "load", "run", "upload"}
    assert min(timings.values()) >= 0
    whole_s = (row["completed_at"] - row["created_at"]).total_seconds()
    assert abs(sum(timings.values()) - whole_s) < TOLERANCE_S, (timings, whole_s)
    return timings


async def test_timings_add_up_to_a_jobs_whole_time(
    project: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """A load, a wait behind a full slot, and the run stand under their own names."""
    async with daemon(project, OURVIDZ_MODELS__VIDEO__OPTIONS__LOAD_S="2") as worker:
        hold = tmp_path / "hold"
        first = await project.insert("video_fast", steps=20, step_s=0.1, hold=str(hold))
        await project.until_running(first)
        second = await project.insert("video_fast", steps=20, step_s=0.1)
        hold.touch()
        loaded = timings_of(await project.until(first, "completed"))
        behind = timings_of(await project.until(second, "completed"))
        at_once = timings_of(
            await project.until(
                await project.insert("video_fast", steps=20, step_s=0.1), "completed"
            )
        )

        assert loaded["load"] >= 2
        assert loaded["run"] >= 2
        assert (behind["load"], at_once["load"]) == (0, 0)
        # The first one was held at its middle, and a second of its steps was left.
        assert behind["queue"] > 0.5
        assert behind["run"] >= 2
        for name in ("queue", "vram", "switch"):
            assert at_once[name] < TOLERANCE_S
        [run] = await project.database.runs(first)
        kept = json.loads(run["timings"])
        assert {name: round(kept[name], 3) for name in loaded} == loaded
        shown = await worker.metrics()
        for phase, count in {"run": 3, "load": 1, "queue": 3}.items():
            name = f'ourvidz_job_phase_seconds_count{{model="video",phase="{phase}"}}'
            assert shown[name] == count


async def test_rows_that_come_together_wait_in_the_queue(
    direct: Project, daemon: StartDaemon
) -> None:
    """Those behind the first were heard of at once: it is its slot that they waited for."""
    async with daemon(direct):
        await direct.until(await direct.insert("video_fast"), "completed")
        await direct.database.owner.execute("begin")
        jobs = [await direct.insert("video_fast", steps=20, step_s=0.1) for _ in range(3)]
        await direct.database.owner.execute("commit")
        timings = [timings_of(await direct.until(job, "completed")) for job in jobs]

        _, second, third = sorted(timings, key=lambda each: each["queue"])
        assert second["queue"] > 1.9
        assert third["queue"] > 3.9
        for each in (second, third):
            assert each["wake_up"] < each["queue"]


async def jobs_of(worker: Daemon) -> dict[str, dict[str, Any]]:
    """Return the held jobs as the status shows them."""
    return {each["job_id"]: each for each in (await worker.get("/status"))[1]["jobs"]}


async def test_a_switch_of_models_is_told_apart(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """Until the other's memory is free it is that, and then the load; the status says so too."""
    slow = {"OURVIDZ_MODELS__SDXL__OPTIONS__LOAD_S": "0.5"}
    async with daemon(direct, **TAKING_TURNS, **slow) as worker:
        hold = tmp_path / "hold"
        running = await direct.insert("video_fast", steps=25, step_s=0.1, hold=str(hold))
        await direct.until_running(running)
        job = await direct.insert("sdxl_image_fast")

        async def waits_for_it() -> bool:
            why = (await jobs_of(worker)).get(str(job), {}).get("waits_for") or ""
            return " of video " in why or "held by video" in why

        await eventually(waits_for_it)
        hold.touch()
        timings = timings_of(await direct.until(job, "completed"))
        await direct.until(running, "completed")

        assert timings["load"] >= 0.5
        assert timings["vram"] + timings["switch"] > 0.5


async def left_s(project: Project, job: UUID) -> float | None:
    """Return in how many seconds a held job's row says that it will end."""
    row = await project.database.row(job)
    if row["status"] != "processing" or row["estimated_completion"] is None:
        return None
    left: float = (row["estimated_completion"] - datetime.now(UTC)).total_seconds()
    return left


async def test_ends_are_foretold_and_move(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """For jobs that wait and that run; a run's own pace corrects what was expected at first."""
    loaded, hold = tmp_path / "loaded", tmp_path / "hold"
    settings = {
        "OURVIDZ_MODELS__VIDEO__OPTIONS__LOAD_WAITS": str(loaded),
        "OURVIDZ_MODELS__VIDEO__RUN_S__FAST": "600",
    }
    async with daemon(direct, **settings) as worker:
        job = await direct.insert("video_fast", steps=40, step_s=0.1, hold=str(hold))

        async def foretold() -> bool:
            return (await left_s(direct, job) or 0) > 100

        await eventually(foretold, what="a waiting job is promised an end, by the settings")
        report = (await jobs_of(worker))[str(job)]
        assert report["phase"] == "waiting"
        assert report["waits_for"].startswith("video is being loaded: ")
        assert report["estimated_completion"] is not None
        loaded.touch()

        async def corrected() -> bool:
            left = await left_s(direct, job)
            return left is not None and left < 60

        await eventually(corrected, what="a running job is promised an end, by its pace")
        report = (await jobs_of(worker))[str(job)]
        assert (report["phase"], report["device"], report["waits_for"]) == ("running", 0, None)
        hold.touch()
        row = await direct.until(job, "completed")
        assert row["estimated_completion"] is None


async def test_kept_promises_are_counted(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """The share of jobs that ended in time is in the status and in the metrics."""
    loaded = tmp_path / "loaded"
    # By the settings, longer than all of it takes on the slowest of machines.
    slow = {"OURVIDZ_MODELS__CHAT__LOAD_S": "120"}
    async with daemon(
        direct, OURVIDZ_MODELS__CHAT__OPTIONS__LOAD_WAITS=str(loaded), **slow
    ) as worker:
        jobs = [await direct.insert("chat") for _ in range(8)]

        async def promised() -> bool:
            return None not in [await left_s(direct, job) for job in jobs]

        await eventually(promised, what="all are promised an end")
        loaded.touch()
        for job in jobs:
            await direct.until(job, "completed")

        async def counted() -> dict[str, Any] | None:
            forecast: dict[str, Any] = (await worker.get("/status"))[1]["forecast"]
            return forecast if forecast["promised"] == len(jobs) else None

        forecast = await eventually(counted)
        assert forecast is not None
        assert (forecast["kept"], forecast["coverage"]) == (8, 1.0)
        shown = await worker.metrics()
        assert shown["ourvidz_eta_coverage_ratio"] == 1
        assert shown['ourvidz_vram_outside_bytes{device="0"}'] == 0
        assert shown["ourvidz_host_weights_bytes"] == 0
        assert await jobs_of(worker) == {}
