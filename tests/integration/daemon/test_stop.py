"""SIGTERM: finish what runs, give back the rest, leave nothing behind."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]
HOLD = """
create function hold() returns trigger language plpgsql as $$
begin
    if new.name like '%-1.png' then perform pg_advisory_xact_lock(7); end if;
    return new;
end $$;
create trigger hold before insert on storage.objects for each row execute function hold();
"""


AT_ONCE = {"OURVIDZ_STOP__GRACE_S": "600"}
"""Whoever waited for the end of it would wait longer than any test does."""


async def test_a_soft_stop_finishes_what_runs(
    project: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """The running job completes; those that wait for a model or in the queue are as before."""
    slow_load = {"OURVIDZ_MODELS__WAN__OPTIONS__LOAD_S": "600"}
    async with daemon(project, **slow_load) as worker:
        hold = tmp_path / "hold"
        running = await project.insert("video_fast", hold=str(hold))
        await project.until_running(running)
        waiting = await project.insert("wan_image_fast")
        await project.until(waiting, "processing")
        queued = await project.insert("video_fast")
        stopping = asyncio.create_task(worker.stop())
        await eventually(lambda: "stopping: taking no more jobs" in worker.log)
        hold.touch()

        assert await stopping == 0
        worker.assert_clean()
        row = await project.database.row(running)
        assert (row["status"], row["attempts"]) == ("completed", 1)
        for job in (waiting, queued):
            row = await project.database.row(job)
            assert (row["status"], row["attempts"], row["progress"]) == ("queued", 0, 0)
        assert [run["outcome"] for run in await project.database.runs(waiting)] == ["released"]
        assert await project.database.runs(queued) == []
        await project.assert_nothing_held()


@pytest.mark.parametrize("ignore_cancel", [False, True])
async def test_a_hard_stop_releases_uncounted(
    project: Project, daemon: StartDaemon, *, ignore_cancel: bool
) -> None:
    """What isn't done by the end of the grace goes back without losing an attempt.

    So does a run that doesn't listen: its engine is killed for it.
    """
    settings = {
        "OURVIDZ_STOP__GRACE_S": "0.2",
        "OURVIDZ_MODELS__SDXL__OPTIONS__CANCEL_TIMEOUT_S": "0.5",
    }
    async with daemon(project, **settings) as worker:
        jobs = [
            await project.insert(
                "sdxl_image_fast", steps=1000, step_s=0.1, ignore_cancel=ignore_cancel
            )
            for _ in range(2)
        ]
        for job in jobs:
            await project.until_running(job)
        status = await worker.stop()

        assert status == 0
        worker.assert_clean()
        for job in jobs:
            row = await project.database.row(job)
            assert (row["status"], row["attempts"], row["progress"]) == ("queued", 0, 0)
            assert (row["error"], row["started_at"]) == (None, None)
            # Nobody but the next worker may say when it goes on.
            assert row["run_after"] <= row["updated_at"]
            [run] = await project.database.runs(job)
            assert run["outcome"] == "released"
        await project.assert_nothing_held()
        if project.files is not None:
            assert list(project.files.rglob("*.png")) == []

    async with daemon(project):
        for job in jobs:
            await project.until(job, "processing")


async def test_a_second_signal_skips_the_grace(direct: Project, daemon: StartDaemon) -> None:
    """An impatient operator is obeyed: the run is released at its next step."""
    async with daemon(direct, **AT_ONCE) as worker:
        job = await direct.insert("sdxl_image_fast", steps=1000, step_s=0.1)
        await direct.until_running(job)
        worker.signal(signal.SIGTERM)

        async def draining() -> bool:
            return (await worker.get("/health"))[1]["status"] == "draining"

        await eventually(draining)
        status, answer = await worker.get("/ready")
        assert (status, answer["reasons"]) == (503, ["the worker is draining"])
        assert await direct.status(job) == "processing"

        assert await worker.stop() == 0
        row = await direct.database.row(job)
        assert (row["status"], row["attempts"]) == ("queued", 0)


async def test_an_idle_daemon_stops_at_once(project: Project, daemon: StartDaemon) -> None:
    """Nothing to finish is nothing to wait for, with engines loaded or not."""
    async with daemon(project, **AT_ONCE) as worker:
        await project.until(await project.insert(), "completed")
        assert len(worker.engines()) == 1
        assert await worker.stop() == 0
        worker.assert_clean()


async def test_a_signal_during_the_start_is_obeyed(direct: Project, daemon: StartDaemon) -> None:
    """A daemon that still waits for its database stops as well, and with success."""
    nowhere = {"DATABASE_URL": "postgres://worker:secret@127.0.0.1:1/none"}
    worker = await daemon(direct, **nowhere).start()

    async def answers() -> bool:
        return (await worker.get("/health"))[0] is not None

    await eventually(answers)
    assert await worker.stop() == 0
    worker.assert_clean()


async def test_files_of_a_stopped_upload_are_removed(
    supabase: Project, daemon: StartDaemon
) -> None:
    """A job that is stopped between two of its uploads leaves no file in the bucket."""
    files = "select count(*) from storage.objects where name like '%' || $1 || '%'"
    # The second picture hangs in the database until the lock is given back.
    await supabase.database.owner.execute(HOLD)
    try:
        async with (
            supabase.database.session() as holder,
            daemon(supabase, OURVIDZ_STOP__GRACE_S="0.2") as worker,
        ):
            await holder.execute("select pg_advisory_lock(7)")
            metadata = {"prompt": "a", "width": 64, "height": 64, "num_images": 3}
            job = await supabase.database.insert("sdxl_image_fast", metadata=metadata)

            async def one_is_there() -> bool:
                count: int = await supabase.database.owner.fetchval(files, str(job))
                return count == 1

            await eventually(one_is_there)
            worker.signal(signal.SIGTERM)
            await eventually(lambda: "releasing jobs" in worker.log)
            # The second file arrives after all, when nobody wants it any more.
            await holder.execute("select pg_advisory_unlock(7)")
            assert await worker.ended() == 0
            row = await supabase.database.row(job)
            assert (row["status"], row["attempts"]) == ("queued", 0)
            assert await supabase.database.owner.fetchval(files, str(job)) == 0
    finally:
        await supabase.database.owner.execute("drop function hold cascade")
