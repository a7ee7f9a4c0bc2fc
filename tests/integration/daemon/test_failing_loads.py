"""Loads that fail under whole daemons: what is the model's fault, what isn't, and who pays."""

import asyncio
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

OPTIONS = "OURVIDZ_MODELS__SDXL__OPTIONS__"


@pytest.mark.parametrize("fault", ["crash", "broken"])
async def test_an_engine_that_ends_in_a_load_has_a_successor(
    direct: Project, daemon: StartDaemon, tmp_path: Path, fault: str
) -> None:
    """A crash, or a device that another one broke: whoever waits for the model never notices."""
    file = tmp_path / "fault"
    file.write_text(fault)
    async with daemon(direct, **{f"{OPTIONS}LOAD_FAULT": str(file)}) as worker:
        job = await direct.insert("sdxl_image_fast")
        row = await direct.until(job, "completed")

        assert row["attempts"] == 1
        assert [run["outcome"] for run in await direct.database.runs(job)] == ["completed"]
        assert not file.exists()
        assert "engine lost while loading: another one is tried" in worker.log
        assert (await worker.get("/status"))[1]["scheduler"]["back_offs"] == []
        metrics = await worker.metrics()
        loss = {"crash": "crashed", "broken": "poisoned"}[fault]
        assert metrics[f'ourvidz_engine_deaths_total{{loss="{loss}",model="sdxl"}}'] == 1
        assert metrics['ourvidz_engine_restarts_total{model="sdxl"}'] == 1


async def test_an_engine_that_is_killed_in_a_load_has_a_successor(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """By somebody else, as the kernel does: the model isn't called bad for that."""
    waits = tmp_path / "waits"
    async with daemon(direct, **{f"{OPTIONS}LOAD_WAITS": str(waits)}) as worker:
        job = await direct.insert("sdxl_image_fast")
        [engine] = await eventually(worker.engines)
        os.kill(engine, signal.SIGKILL)
        await eventually(lambda: worker.engines() not in ([], [engine]))
        waits.touch()
        row = await direct.until(job, "completed")

        assert row["attempts"] == 1
        assert len(await direct.database.runs(job)) == 1


async def test_an_engine_that_is_stopped_in_a_load_holds_up_nobody_for_long(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """Nothing loads beside a load: one that will never end is found by its silence."""
    waits = tmp_path / "waits"
    # Five times as long in a load.
    listening = {f"{OPTIONS}PING_EVERY_S": "0.5", f"{OPTIONS}PING_WITHIN_S": "2"}
    async with daemon(direct, **listening, **{f"{OPTIONS}LOAD_WAITS": str(waits)}) as worker:
        job = await direct.insert("sdxl_image_fast")
        [engine] = await eventually(worker.engines)
        os.kill(engine, signal.SIGSTOP)
        other = await direct.insert("wan_image_fast")
        waits.touch()
        for each in (job, other):
            row = await direct.until(each, "completed")
            assert row["attempts"] == 1

        assert "loss=hung" in worker.log
        assert engine not in worker.engines()


async def test_a_load_that_stands_still_makes_room_for_others(
    direct: Project, daemon: StartDaemon
) -> None:
    """Its engine answers pings, and does nothing: two of them, then another model may load."""
    stuck = {"LOAD_HANGS": "true", "HANG_FLOOR_S": "3", "PING_EVERY_S": "0.5"}
    async with daemon(direct, **{OPTIONS + name: value for name, value in stuck.items()}) as worker:
        job = await direct.insert("sdxl_image_fast")
        await eventually(worker.engines)
        other = await direct.insert("wan_image_fast")
        row = await direct.until(other, "completed")
        assert row["attempts"] == 1
        row = await direct.until(job, "failed")

        assert (row["error_code"], row["attempts"]) == ("MODEL_LOAD_FAILED", 1)
        assert "the sdxl engine hung and was killed: its load stood still for" in row["error"]
        metrics = await worker.metrics()
        # The second one's end is a failed load.
        assert metrics['ourvidz_engine_deaths_total{loss="hung",model="sdxl"}'] == 1
        assert worker.log.count("engine lost while loading: another one is tried") == 1
        [back_off] = (await worker.get("/status"))[1]["scheduler"]["back_offs"]
        assert (back_off["model"], back_off["failures"]) == ("sdxl", 1)
        lines = worker.log.splitlines()
        loads = [line for line in lines if "model loading" in line or "model load failed" in line]
        assert ["model=wan" in line for line in loads] == [False] * (len(loads) - 1) + [True]
        await direct.assert_nothing_held()


async def test_a_slow_load_is_no_hung_one(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """It reads a little all the time, far longer than a load may stand still."""
    there = tmp_path / "there"
    slow = {"LOAD_CRAWLS": str(there), "HANG_FLOOR_S": "3", "PING_EVERY_S": "0.5"}
    async with daemon(direct, **{OPTIONS + name: value for name, value in slow.items()}) as worker:
        job = await direct.insert("sdxl_image_fast")
        [engine] = await eventually(worker.engines)
        # A machine that is slow meanwhile proves less, and breaks nothing.
        await asyncio.sleep(8)
        assert worker.engines() == [engine]
        there.touch()
        row = await direct.until(job, "completed")

        assert row["attempts"] == 1
        assert "loss=hung" not in worker.log


async def test_a_model_whose_engines_end_in_every_load_has_failed(
    direct: Project, daemon: StartDaemon
) -> None:
    """It backs off as with any failed load, and another model loads and works on."""
    async with daemon(direct, **{f"{OPTIONS}LOAD_CRASH": "9"}) as worker:
        job = await direct.insert("sdxl_image_fast")
        row = await direct.until(job, "failed")

        assert (row["error_code"], row["attempts"]) == ("MODEL_LOAD_FAILED", 1)
        assert row["error"] == (
            "the engine of sdxl ended while loading: the sdxl engine exited with status 9"
        )
        [back_off] = (await worker.get("/status"))[1]["scheduler"]["back_offs"]
        assert (back_off["model"], back_off["failures"]) == ("sdxl", 1)
        await direct.until(await direct.insert("wan_image_fast"), "completed")
        [run] = await direct.database.runs(job)
        assert not run["engine_lost"]
        await direct.assert_nothing_held()


async def test_a_load_out_of_memory_beside_others_has_the_device_for_itself(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """The other model goes, its running job ends first, and the second load is enough."""
    file, hold = tmp_path / "fault", tmp_path / "hold"
    file.write_text("oom")
    async with daemon(direct, **{f"{OPTIONS}LOAD_FAULT": str(file)}) as worker:
        beside = await direct.insert("wan_image_fast", hold=str(hold))
        await direct.until_running(beside)
        [other] = worker.engines()
        job = await direct.insert("sdxl_image_fast")
        await eventually(lambda: not file.exists(), what="the load was tried beside the other")
        hold.touch()
        for each in (job, beside):
            row = await direct.until(each, "completed")
            assert row["attempts"] == 1
            assert len(await direct.database.runs(each)) == 1

        assert other not in worker.engines()
        metrics = await worker.metrics()
        assert metrics['ourvidz_out_of_memory_total{during="load",model="sdxl"}'] == 1


async def test_a_load_out_of_memory_alone_is_an_overflow(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """Nobody is there who could go: the row says VRAM_OVERFLOW. The next load is another one."""
    file = tmp_path / "fault"
    file.write_text("oom")
    async with daemon(direct, **{f"{OPTIONS}LOAD_FAULT": str(file)}):
        row = await direct.until(await direct.insert("sdxl_image_fast"), "failed")
        assert (row["error_code"], row["attempts"]) == ("VRAM_OVERFLOW", 1)
        assert "doesn't fit into memory" in row["error"]
        await direct.until(await direct.insert("sdxl_image_fast"), "completed")
