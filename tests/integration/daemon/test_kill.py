"""SIGKILL, and a worker that sleeps through its lease: nothing is lost, nothing happens twice."""

import signal
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from daemon_process import SHORT_LEASES, Daemon
from eventually import eventually
from projects import Project

from daemon.exit_codes import TRY_AGAIN

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

LONG_LEASES = {"OURVIDZ_LEASES__DURATION_S": "600"}
"""Leases that a test doesn't see the end of."""


async def files_of(project: Project, job: UUID) -> list[str]:
    """Return the paths of all files of a job, published or not."""
    if project.files is not None:
        return [str(path.relative_to(project.files)) for path in project.files.rglob(f"{job}/*")]
    rows = await project.database.owner.fetch(
        "select bucket_id || '/' || name as path from storage.objects where name like $1",
        f"%{job}%",
    )
    return [row["path"] for row in rows]


async def assert_completed_once(project: Project, job: UUID, *outcomes: str) -> None:
    """The job has one result, one file, and these runs."""
    row = await project.database.row(job)
    runs = await project.database.runs(job)
    assert row["status"] == "completed"
    assert [run["outcome"] for run in runs] == list(outcomes)
    assert row["attempts"] == len(outcomes)
    [path] = await files_of(project, job)
    [last] = [run for run in runs if run["outcome"] == "completed"]
    assert path.endswith(f"{job}/{last['claim_id']}-0.png")


async def test_a_restarted_worker_takes_its_job_back(
    project: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """Killed in mid-job and restarted, it runs the job again long before the lease has ended.

    The job completes once, its attempt counts, and no engine outlives its daemon.
    """
    hold = tmp_path / "hold"
    killed = await daemon(project, **LONG_LEASES).start()
    await killed.until_ready()
    job = await project.insert("sdxl_image_fast", hold=str(hold))
    await project.until_running(job)
    engines = killed.engines()
    await killed.kill()

    async with daemon(project, **LONG_LEASES):
        await project.until_running(job, attempt=2)
        hold.touch()
        await project.until(job, "completed")
        await assert_completed_once(project, job, "expired", "completed")
        await eventually(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in engines))
        killed.assert_clean()


async def test_another_worker_takes_over_when_the_lease_ends(
    project: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """A worker that never comes back loses its job to another one, not before its lease ended."""
    lost = await daemon(project, "lost", **SHORT_LEASES).start()
    await lost.until_ready()
    hold = tmp_path / "hold"
    job = await project.insert("sdxl_image_fast", hold=str(hold))
    await project.until_running(job)
    await lost.kill()
    hold.touch()
    async with daemon(project, "other", **SHORT_LEASES):
        await project.until(job, "completed")
        await assert_completed_once(project, job, "expired", "completed")
        expired, completed = await project.database.runs(job)
        assert (expired["worker_id"], completed["worker_id"]) == ("lost", "other")
        assert completed["started_at"] >= expired["lease_expires_at"]
        await eventually(lambda: not lost.processes())


async def test_a_worker_that_slept_through_its_lease_writes_nothing(
    project: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """Its claim is stale when it wakes: the other worker's result stands, its own file is gone."""
    async with daemon(project, "sleeper", **SHORT_LEASES) as sleeper:
        hold = tmp_path / "hold"
        job = await project.insert("sdxl_image_fast", hold=str(hold))
        await project.until_running(job)
        # The engine goes on: its result waits in the pipe for the daemon to wake.
        sleeper.signal(signal.SIGSTOP)
        hold.touch()
        async with daemon(project, "other", **SHORT_LEASES):
            before = await project.until(job, "completed")
            sleeper.signal(signal.SIGCONT)

            async def noticed() -> bool:
                return (await sleeper.get("/health"))[1]["active_jobs"] == 0

            await eventually(noticed)
            assert await project.database.row(job) == before
            await assert_completed_once(project, job, "expired", "completed")
            lost = (await sleeper.get("/status"))[1]["leases"]["lost"]
            assert lost == 1

        # It is well again, and works.
        await project.until(await project.insert("sdxl_image_fast"), "completed")


async def test_a_worker_that_wakes_while_another_runs_its_job_writes_nothing(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """Its finished work comes too late: the claim of the other one decides, and its result."""
    first, second, ended = tmp_path / "first", tmp_path / "second", tmp_path / "ended"
    async with daemon(direct, "sleeper", **SHORT_LEASES) as sleeper:
        job = await direct.insert("sdxl_image_fast", hold=str(first), end_mark=str(ended))
        await direct.until_running(job)
        sleeper.signal(signal.SIGSTOP)
        first.touch()
        await eventually(ended.exists, what="its engine has finished the work")
        await direct.database.owner.execute(
            "update jobs set metadata = jsonb_set(metadata, '{fake,hold}', to_jsonb($2::text)) "
            "where id = $1",
            job,
            str(second),
        )
        async with daemon(direct, "other", **SHORT_LEASES):
            await direct.until_running(job, attempt=2)
            sleeper.signal(signal.SIGCONT)

            async def noticed() -> bool:
                return (await sleeper.get("/health"))[1]["active_jobs"] == 0

            await eventually(noticed)
            second.touch()
            await direct.until(job, "completed")
            await assert_completed_once(direct, job, "expired", "completed")
            [_, run] = await direct.database.runs(job)
            assert run["worker_id"] == "other"


async def test_a_job_that_is_queued_again_runs_from_the_start(
    project: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """A backend that takes a running job back gets a new run's result; the old one's is refused."""
    async with daemon(project):
        await project.until(await project.insert("sdxl_image_fast"), "completed")
        # One long step after the first progress: the worker learns nothing until it has a result.
        hold = tmp_path / "hold"
        job = await project.insert("sdxl_image_fast", steps=1, hold=str(hold))

        async def has_told() -> bool:
            return (await project.database.row(job))["current_step"] is not None

        await eventually(has_told)
        await project.database.owner.execute("update jobs set status = 'queued' where id = $1", job)
        hold.touch()
        await project.until(job, "completed")
        await assert_completed_once(project, job, "expired", "completed")


async def test_a_job_that_takes_its_worker_down_is_given_up(
    direct: Project, daemon: StartDaemon
) -> None:
    """After the last attempt the job has failed, with a sentence; it isn't tried for ever."""
    job = await direct.insert("chat", steps=1000, step_s=0.1)
    for attempt in range(1, 4):
        worker = await daemon(direct).start()
        await direct.until_running(job, attempt)
        await worker.kill()
    async with daemon(direct):
        row = await direct.until(job, "failed")
        assert row["error_code"] == "GENERATION_FAILED"
        assert row["error"] == "the worker stopped 3 times while running this job"
        await direct.assert_nothing_held()


async def test_a_namesake_on_this_host_is_no_predecessor(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """A second worker of the name refuses to start and leaves the first one's jobs alone."""
    async with daemon(direct):
        hold = tmp_path / "hold"
        job = await direct.insert("chat", hold=str(hold))
        await direct.until_running(job)
        second = await daemon(direct).start()
        assert await second.ended() == TRY_AGAIN
        assert 'a worker named "worker" runs on this host already' in second.log
        hold.touch()
        await direct.until(job, "completed")
        assert [run["outcome"] for run in await direct.database.runs(job)] == ["completed"]
