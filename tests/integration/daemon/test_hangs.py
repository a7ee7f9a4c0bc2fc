"""Engines that hang or can't begin under whole daemons: others go on, and one job pays at most."""

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

HANG_FLOOR_S = 4.0
"""An engine that a busy machine lets wait for so long would be taken for hung, wrongly."""

FIRST_PAUSE_S = 5.0
"""After the first failed load of a model."""


async def test_a_run_that_hangs_is_found_and_pays_alone(
    direct: Project, daemon: StartDaemon
) -> None:
    """Both jobs of the hung engine are given back; the one that hangs again, alone, is failed."""
    impatient = {"OURVIDZ_MODELS__SDXL__OPTIONS__HANG_FLOOR_S": str(HANG_FLOOR_S)}
    async with daemon(direct, **impatient) as worker:
        innocent = await direct.insert("sdxl_image_fast", steps=600, step_s=0.1)
        await direct.until_running(innocent)
        # The run goes on as it began; the next one is short.
        await direct.database.owner.execute(
            "update jobs set metadata = jsonb_set(metadata, '{fake,steps}', '2') where id = $1",
            innocent,
        )
        [engine] = worker.engines()
        hanging = await direct.insert("sdxl_image_fast", steps=1, step_s=600)

        row = await direct.until(hanging, "failed")
        assert (row["error_code"], row["attempts"]) == ("GENERATION_FAILED", 1)
        assert "the sdxl engine hung and was killed: its image run took no step" in row["error"]
        row = await direct.until(innocent, "completed")
        assert row["attempts"] == 1
        assert [
            (run["outcome"], run["engine_lost"]) for run in await direct.database.runs(hanging)
        ] == [("released", True), ("failed", True)]
        assert [
            (run["outcome"], run["engine_lost"]) for run in await direct.database.runs(innocent)
        ] == [("released", True), ("completed", False)]
        assert engine not in worker.engines()
        deaths = (await worker.metrics())['ourvidz_engine_deaths_total{loss="hung",model="sdxl"}']
        assert deaths == 2
        await direct.until(await direct.insert("sdxl_image_fast"), "completed")
        await direct.assert_nothing_held()


async def test_an_engine_that_somebody_stopped_is_found_by_its_silence(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """No step is missing yet: it answers no ping. Its job runs again, another engine goes on."""
    hold = tmp_path / "hold"
    options = "OURVIDZ_MODELS__SDXL__OPTIONS__"
    listening = {f"{options}PING_EVERY_S": "0.5", f"{options}PING_WITHIN_S": str(HANG_FLOOR_S)}
    async with daemon(direct, **listening) as worker:
        beside = await direct.insert("wan_image_fast", hold=str(hold))
        await direct.until_running(beside)
        [other] = worker.engines()
        job = await direct.insert("sdxl_image_fast", hold=str(hold))
        await direct.until_running(job)
        [engine] = set(worker.engines()) - {other}
        os.kill(engine, signal.SIGSTOP)
        await eventually(lambda: engine not in worker.engines())
        hold.touch()

        for each in (job, beside):
            row = await direct.until(each, "completed")
            assert row["attempts"] == 1
        lost, completed = await direct.database.runs(job)
        assert (lost["outcome"], lost["engine_lost"]) == ("released", True)
        assert "hung and was killed: it answered no ping for" in lost["error"]
        assert completed["outcome"] == "completed"
        assert len(await direct.database.runs(beside)) == 1
        assert other in worker.engines()


async def test_failed_loads_back_off_while_others_go_on(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """During the pause the model's jobs stay in the table, and then they have another try."""
    weights = tmp_path / "weights"
    missing = {"OURVIDZ_MODELS__WAN__OPTIONS__LOAD_NEEDS": str(weights)}
    async with daemon(direct, **missing) as worker:
        failed = await direct.until(await direct.insert("wan_image_fast"), "failed")
        assert (failed["error_code"], failed["attempts"]) == ("MODEL_LOAD_FAILED", 1)
        assert str(weights) in failed["error"]
        [back_off] = (await worker.get("/status"))[1]["scheduler"]["back_offs"]
        assert (back_off["model"], back_off["failures"]) == ("wan", 1)
        weights.touch()
        waiting = await direct.insert("wan_image_fast")
        others = [await direct.insert(kind) for kind in ("sdxl_image_fast", "chat")]

        later = await direct.until(waiting, "completed")
        assert later["attempts"] == 1
        # It begins a little before the failure is written down.
        pause_s = (later["started_at"] - failed["completed_at"]).total_seconds()
        assert pause_s > FIRST_PAUSE_S / 2
        for job in others:
            row = await direct.until(job, "completed")
            assert row["started_at"] < later["started_at"]
        assert (await worker.get("/status"))[1]["scheduler"]["back_offs"] == []

        async def healthy() -> bool:
            return (await worker.get("/health"))[1]["status"] == "healthy"

        await eventually(healthy)
