"""Several daemons on one table: each job is one worker's, and every job is done."""

from collections import Counter
from collections.abc import Callable

import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

JOBS = 200


async def listens(worker: Daemon) -> bool:
    """Say whether all of a worker's sources would tell it of a row."""
    return all(each["ready"] for each in (await worker.get("/status"))[1]["wakeups"].values())


async def test_two_daemons_share_a_queue(project: Project, daemon: StartDaemon) -> None:
    """200 jobs of several users and kinds: one claim each, one result each, both workers busy."""
    inline = {f"OURVIDZ_MODELS__{model}__OPTIONS__INLINE": "true" for model in ("CHAT", "SDXL")}
    async with (
        daemon(project, "one", **inline) as one,
        daemon(project, "two", **inline) as two,
    ):
        # Who isn't told of the jobs may come when all are done.
        await eventually(lambda: listens(one), what="one listens")
        await eventually(lambda: listens(two), what="two listens")
        await project.database.owner.execute(
            """
            insert into jobs (job_type, metadata, user_id)
            select
                case when n % 4 = 0 then 'sdxl_image_fast' else 'chat' end,
                '{"prompt": "a", "width": 64, "height": 64, "fake": {"steps": 2, "step_s": 0.01}}',
                ('00000000-0000-4000-8000-00000000000' || n % 5)::uuid
            from generate_series(1, $1) n
            """,
            JOBS,
        )

        async def all_done() -> bool:
            left: int = await project.database.owner.fetchval(
                "select count(*) from jobs where status <> 'completed'"
            )
            return left == 0

        await eventually(all_done, 120)
        runs = await project.database.owner.fetch("select job_id, worker_id, outcome from job_runs")
        assert len(runs) == len({run["job_id"] for run in runs}) == JOBS
        assert {run["outcome"] for run in runs} == {"completed"}
        shares = Counter(run["worker_id"] for run in runs)
        assert shares.keys() == {"one", "two"}
        assert await project.database.owner.fetchval("select max(attempts) from jobs") == 1
        await project.assert_nothing_held()


async def test_a_worker_of_one_type_leaves_the_others_alone(
    direct: Project, daemon: StartDaemon
) -> None:
    """Workers of different types on one table divide the job types between them."""
    async with daemon(direct, "talks", OURVIDZ_WORKER_TYPE="chat"):
        picture, answer = await direct.insert("sdxl_image_fast"), await direct.insert("chat")
        await direct.until(answer, "completed")
        assert await direct.status(picture) == "queued"
        async with daemon(direct, "paints", OURVIDZ_WORKER_TYPE="sdxl"):
            await direct.until(picture, "completed")
        [run] = await direct.database.runs(picture)
        assert run["worker_id"] == "paints"


async def test_a_model_that_is_not_enabled_is_left_to_others(
    direct: Project, daemon: StartDaemon
) -> None:
    """A small device serves what fits it; its films wait for a worker that has room."""
    small = {"OURVIDZ_MODELS__VIDEO__ENABLED": "false", "OURVIDZ_DEVICE__SIMULATE_GB": "16"}
    async with daemon(direct, "small", **small) as worker:
        film, answer = await direct.insert("video_fast"), await direct.insert("chat")
        picture = await direct.insert("sdxl_image_high")
        await direct.until(answer, "completed")
        await direct.until(picture, "completed")
        assert await direct.status(film) == "queued"
        served = (await worker.get("/status"))[1]["models"].keys() - {"architecture"}
        assert served == {"qwen_instruct", "sdxl", "wan"}
        async with daemon(direct, "films", OURVIDZ_WORKER_TYPE="video"):
            await direct.until(film, "completed")
        [run] = await direct.database.runs(film)
        assert run["worker_id"] == "films"
