"""Engines that die under whole daemons: nobody pays but a job that ended two of them."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]


async def test_a_killed_engine_costs_its_job_nothing(
    project: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """The job runs again in a new engine; another model's engine and job never notice."""
    async with daemon(project) as worker:
        hold = tmp_path / "hold"
        bystander = await project.insert("chat", hold=str(hold))
        await project.until_running(bystander)
        [chat_engine] = worker.engines()
        job = await project.insert("sdxl_image_fast", hold=str(hold))
        await project.until_running(job)
        [engine] = set(worker.engines()) - {chat_engine}
        os.kill(engine, signal.SIGKILL)
        await eventually(lambda: engine not in worker.engines())
        hold.touch()

        row = await project.until(job, "completed")
        assert row["attempts"] == 1
        lost, completed = await project.database.runs(job)
        assert (lost["outcome"], lost["engine_lost"]) == ("released", True)
        assert "SIGKILL" in lost["error"]
        assert (completed["outcome"], completed["engine_lost"]) == ("completed", False)
        row = await project.until(bystander, "completed")
        assert row["attempts"] == 1
        assert chat_engine in worker.engines()
        assert engine not in worker.engines()


@pytest.mark.parametrize("deed", [{"crash": 3}, {"broken": True}])
async def test_a_job_that_ends_its_engine_twice_is_failed(
    direct: Project, daemon: StartDaemon, deed: dict[str, object]
) -> None:
    """A crash, or a device context beyond repair: twice is enough, and the reason is in the row."""
    # The second run comes at once, not with some later sweep of the table.
    rarely = {f"OURVIDZ_WAKEUPS__SWEEP_INTERVAL{kind}_S": "600" for kind in ("", "_BLIND")}
    async with daemon(direct, **rarely):
        job = await direct.insert("sdxl_image_fast", **deed)
        row = await direct.until(job, "failed")
        assert (row["attempts"], row["error_code"]) == (1, "GENERATION_FAILED")
        assert row["error"].startswith("the engine ended while it ran this job: ")
        assert row["result"] is None
        assert [
            (run["outcome"], run["engine_lost"]) for run in await direct.database.runs(job)
        ] == [("released", True), ("failed", True)]
        # The model itself is as good as before.
        await direct.until(await direct.insert("sdxl_image_fast"), "completed")
        await direct.assert_nothing_held()


@pytest.mark.parametrize("deed", [{"crash": 3}, {"broken": True}])
async def test_innocents_beside_a_killer_complete(
    direct: Project, daemon: StartDaemon, deed: dict[str, object], tmp_path: Path
) -> None:
    """Those who shared the engine lose nothing; the killer alone is failed."""
    async with daemon(direct) as worker:
        hold = tmp_path / "hold"
        innocents = [await direct.insert("chat", hold=str(hold)) for _ in range(3)]
        for job in innocents:
            await direct.until_running(job)
        [shared] = worker.engines()
        killer = await direct.insert("chat", steps=4, step_s=0.05, **deed)
        await eventually(lambda: shared not in worker.engines())
        hold.touch()
        row = await direct.until(killer, "failed")
        assert len(await direct.database.runs(killer)) == 2
        for job in innocents:
            row = await direct.until(job, "completed")
            assert row["attempts"] == 1
            assert [
                (run["outcome"], run["engine_lost"]) for run in await direct.database.runs(job)
            ] == [("released", True), ("completed", False)]


async def test_two_killers_of_one_engine_pay_and_nobody_else(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """Both were in the engine that ended first: each is proven by one that it has for itself."""
    async with daemon(direct) as worker:
        hold = tmp_path / "hold"
        innocent = await direct.insert("chat", hold=str(hold))
        await direct.until_running(innocent)
        [shared] = worker.engines()
        killers = [
            await direct.insert("chat", steps=4, step_s=0.1, **deed)
            for deed in ({"crash": 3}, {"broken": True})
        ]
        await eventually(lambda: shared not in worker.engines())
        hold.touch()
        for job in killers:
            row = await direct.until(job, "failed")
            assert (row["error_code"], row["attempts"]) == ("GENERATION_FAILED", 1)
        row = await direct.until(innocent, "completed")
        assert row["attempts"] == 1
        assert [
            (run["outcome"], run["engine_lost"]) for run in await direct.database.runs(innocent)
        ] == [("released", True), ("completed", False)]
        await direct.assert_nothing_held()


async def test_a_model_that_cannot_be_loaded_fails_its_jobs_only(
    direct: Project, daemon: StartDaemon
) -> None:
    """Jobs of that model fail with the reason, /health tells it, and other models serve on."""
    async with daemon(direct, OURVIDZ_MODELS__WAN__OPTIONS__LOAD_FAIL="no such file") as worker:
        job = await direct.insert("wan_image_fast")
        row = await direct.until(job, "failed")
        assert (row["error_code"], row["attempts"]) == ("MODEL_LOAD_FAILED", 1)
        assert "no such file" in row["error"]
        await direct.until(await direct.insert("sdxl_image_fast"), "completed")
        _, health = await worker.get("/health")
        assert health["status"] == "degraded"
        assert health["reasons"][0].startswith("model wan could not be loaded")


async def test_models_make_room_for_one_another(direct: Project, daemon: StartDaemon) -> None:
    """On a device that holds one model at a time, all kinds of jobs complete."""
    async with daemon(direct, OURVIDZ_DEVICE__SIMULATE_GB="21") as worker:
        kinds = ("sdxl_image_high", "video_high", "wan_image_fast", "chat") * 3
        for job in [await direct.insert(kind) for kind in kinds]:
            row = await direct.until(job, "completed")
            assert row["attempts"] == 1
        assert "engine lost" not in worker.log
        _, status = await worker.get("/status")
        [device] = status["devices"]
        assert device["weights"] + device["reserved"] <= device["capacity"] - device["reserve"]


async def test_memory_of_a_dead_engine_is_used_again(direct: Project, daemon: StartDaemon) -> None:
    """The device's books are the same after an engine died as before."""
    async with daemon(direct) as worker:

        async def books() -> list[dict[str, object]]:
            devices: list[dict[str, object]] = (await worker.get("/status"))[1]["devices"]
            return devices

        await direct.until(await direct.insert("chat"), "completed")
        before = await books()
        [engine] = worker.engines()
        os.kill(engine, signal.SIGKILL)
        await eventually(lambda: not worker.engines())
        await direct.until(await direct.insert("chat"), "completed")

        async def as_before() -> bool:
            return await books() == before

        await eventually(as_before)
