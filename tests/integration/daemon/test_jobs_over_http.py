"""Jobs over HTTP: any worker tells of any job, and cancels it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from daemon_process import Daemon
from eventually import eventually
from job_stream import watching
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

RARELY_HEARD = {
    "OURVIDZ_LEASES__DURATION_S": "600",
    "OURVIDZ_LEASES__RENEW_EVERY_S": "200",
    "OURVIDZ_LEASES__MARGIN_S": "100",
}
"""Renewals that would tell of a cancelled row long after the tests' patience has ended."""


async def cancel(worker: Daemon, job: UUID | str) -> tuple[int, Any]:
    """Return status and body."""
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(f"{worker.url}/jobs/{job}/cancel")
    return answer.status_code, answer.json()


async def test_a_job_is_read_from_its_row(
    project: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """While it runs and when it has ended, in the shapes of the API's document."""
    async with daemon(project) as worker:
        hold = tmp_path / "hold"
        job = await project.insert("chat", hold=str(hold))
        await project.until_running(job)
        status, running = await worker.get(f"/jobs/{job}")
        hold.touch()
        row = await project.until(job, "completed")
        _, done = await worker.get(f"/jobs/{job}")
        unknown = await worker.get(f"/jobs/{uuid4()}")

        assert (status, running["job_id"], running["status"]) == (200, str(job), "processing")
        assert 0 < running["progress"] < 100
        assert running["current_step"] == "generating_text"
        assert (running["attempts"], running["result"]) == (1, None)
        assert (done["status"], done["progress"]) == ("completed", 100)
        assert done["result"] == json.loads(row["result"])
        assert done["completed_at"].endswith("Z")
        assert (unknown[0], unknown[1]["error_code"]) == (404, "NOT_FOUND")


async def test_a_running_job_is_cancelled_at_once(project: Project, daemon: StartDaemon) -> None:
    """Its run ends although nothing is heard of the row for minutes; its stream says how."""
    async with daemon(project, **RARELY_HEARD) as worker:
        job = await project.insert("chat", steps=100_000, step_s=0.02)

        async def runs() -> bool:
            _, health = await worker.get("/status")
            return any(each["phase"] == "running" for each in health["jobs"])

        await eventually(runs, what="the job runs")
        async with watching(worker, job) as stream:
            answers = [await cancel(worker, job) for _ in range(2)]
            told = await stream.rest()

        assert answers == [(200, {"job_id": str(job), "status": "cancelled"})] * 2
        assert told[-1][1:] == (
            "end", {"status": "cancelled", "error": None, "error_code": None}
        )  # fmt: skip
        await eventually(lambda: idle(worker), what="the worker holds nothing")
        [run] = await project.database.runs(job)
        assert run["outcome"] == "cancelled"
        await project.assert_nothing_held()


async def idle(worker: Daemon) -> bool:
    """Say whether it holds no job."""
    return (await worker.get("/health"))[1]["active_jobs"] == 0


async def test_a_waiting_job_is_followed_until_it_ends_here(
    direct: Project, daemon: StartDaemon
) -> None:
    """By its row while it waits, live with all of its text as soon as the worker has room."""
    async with daemon(direct, OURVIDZ_MAX_HELD="1") as worker:
        first = await direct.insert("chat", steps=100_000, step_s=0.02)
        await eventually(lambda: status_is(worker, first, "processing"), what="the first runs")
        job = await direct.insert("chat", steps=8, step_s=0.05)
        told = []
        async with watching(worker, job) as stream:
            async for event in stream.events():
                if not told:
                    assert (await cancel(worker, first))[0] == 200
                told.append(event)
        row = await direct.until(job, "completed")

        number, kind, data = told[0]
        assert (number, kind, data["status"], data["progress"]) == (0, "step", "queued", 0)
        pieces = [data["text"] for number, kind, data in told if kind == "text"]
        assert "".join(pieces) == json.loads(row["result"])["response"]
        assert told[-1][0] > 0
        assert told[-1][1:] == (
            "end",
            {
                "status": "completed",
                "error": None,
                "error_code": None,
                "result": json.loads(row["result"]),
            },
        )


async def status_is(worker: Daemon, job: UUID, status: str) -> bool:
    """Say whether a job stands so, as the worker tells."""
    return bool((await worker.get(f"/jobs/{job}"))[1]["status"] == status)


async def test_another_workers_job_is_followed_by_its_row(
    project: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """A worker that couldn't even run it tells its steps and its end, also afterwards."""
    gate, hold = tmp_path / "gate", tmp_path / "hold"
    waits = {"OURVIDZ_MODELS__CHAT__OPTIONS__LOAD_WAITS": str(gate)}
    async with (
        daemon(project, "images", OURVIDZ_WORKER_TYPE="sdxl") as stranger,
        daemon(project, "chats", OURVIDZ_WORKER_TYPE="chat", **waits),
    ):
        job = await project.insert("chat", hold=str(hold))
        told = []
        async with watching(stranger, job) as stream:
            async for event in stream.events():
                told.append(event)
                # It isn't loaded before the stream has begun, and doesn't end before it told more.
                (gate if len(told) == 1 else hold).touch()
        row = await project.until(job, "completed")
        async with watching(stranger, job, seen=17) as late:
            again = await late.rest()

        assert {number for number, _, _ in told} == {0}
        steps = [data["progress"] for _, kind, data in told if kind == "step"]
        assert steps == sorted(steps)
        assert len(steps) > 1
        assert [kind for _, kind, _ in told].count("end") == 1
        assert told[-1][2]["result"] == json.loads(row["result"])
        assert again == [told[-1]]


async def test_before_the_database_answers_rows_are_503(
    direct: Project, daemon: StartDaemon
) -> None:
    """The server is there already, and says when to come back."""
    worker = daemon(direct, DATABASE_URL="postgresql://worker:pw@127.0.0.1:1/none")
    await worker.start()

    async def answered() -> httpx.Response | None:
        try:
            async with httpx.AsyncClient() as client:
                return await client.get(f"{worker.url}/jobs/{uuid4()}")
        except httpx.TransportError:
            return None

    answer = await eventually(answered, what="the server answers")
    stopping = asyncio.create_task(worker.stop())
    assert await stopping == 0

    assert answer is not None
    assert (answer.status_code, answer.json()["error_code"]) == (503, "NOT_READY")
    assert answer.headers["Retry-After"] == "5"
