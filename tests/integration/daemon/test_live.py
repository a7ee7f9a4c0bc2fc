"""A job is watched while it runs: over HTTP, and by broadcasts."""

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
from job_stream import WITHIN_S, watching
from projects import Project
from supabase import AsyncClient

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]


class Gate:
    """Holds every model back until it opens, so that a job can be watched from its beginning."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "gate"
        self.environment = {
            f"OURVIDZ_MODELS__{model}__OPTIONS__LOAD_WAITS": str(self._file)
            for model in ("CHAT", "SDXL")
        }

    def open(self) -> None:
        self._file.touch()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


async def until_held(worker: Daemon) -> None:
    """Return when the worker holds a job."""

    async def held() -> bool:
        return bool((await worker.get("/health"))[1]["active_jobs"])

    await eventually(held, what="a job is held")


async def test_an_answer_comes_piece_by_piece(
    project: Project, daemon: StartDaemon, gate: Gate
) -> None:
    """What a stream tells joins to the row's response, and its end is the row's."""
    async with daemon(project, **gate.environment) as worker:
        job = await project.insert("chat", steps=8, step_s=0.05)
        await until_held(worker)
        async with watching(worker, job) as stream:
            gate.open()
            told = await stream.rest()
        row = await project.until(job, "completed")

        result = json.loads(row["result"])
        pieces = [data for _, kind, data in told if kind == "text"]
        assert "".join(piece["text"] for piece in pieces) == result["response"]
        assert len(pieces) > 1
        assert told[0][1] == "step"
        assert told[0][2]["current_step"] in {"waiting_for_gpu", "loading_model"}
        _, kind, end = told[-1]
        assert (kind, end["status"], end["result"]) == ("end", "completed", result)
        steps = [data["progress"] for _, kind, data in told if kind == "step"]
        assert steps == sorted(steps)
        assert len(set(steps)) > 1

        seen = next(event[0] for event in told if event[1] == "text")
        async with watching(worker, job, seen) as again:
            rest = "".join(data["text"] for _, kind, data in await again.rest() if kind == "text")
        assert pieces[0]["text"] + rest == result["response"]


async def test_a_picture_is_seen_as_it_is_drawn(
    direct: Project, daemon: StartDaemon, gate: Gate
) -> None:
    """Previews come with the steps, and the end has the file's address."""
    async with daemon(direct, **gate.environment) as worker:
        job = await direct.insert("sdxl_image_fast", steps=6, step_s=0.3, preview=5000)
        await until_held(worker)
        async with watching(worker, job) as stream:
            gate.open()
            told = await stream.rest()

        previews = [data["image"] for _, kind, data in told if kind == "preview"]
        assert len(set(previews)) > 1
        assert all(each.startswith("data:image/jpeg;base64,/9g") for each in previews)
        assert told[-1][2]["result"]["image_url"].startswith("file:")


async def test_streams_are_guarded_and_a_strange_job_is_404(
    direct: Project, daemon: StartDaemon
) -> None:
    """Without the key nothing is told, not even whether there is such a job."""
    async with daemon(direct, WORKER_API_KEY="a-long-key-of-an-operator") as worker:
        path = f"{worker.url}/jobs/{uuid4()}/events"
        async with httpx.AsyncClient() as client:
            without = await client.get(path)
            key = {"X-API-Key": "a-long-key-of-an-operator"}
            strange = await client.get(path, headers=key)

        assert (without.status_code, without.json()["error_code"]) == (401, "UNAUTHORIZED")
        assert (strange.status_code, strange.json()["error_code"]) == (404, "NOT_FOUND")


async def test_a_stopping_worker_tells_its_watchers(direct: Project, daemon: StartDaemon) -> None:
    """The job goes back, the stream ends, and the worker stops without waiting for its clients."""
    async with daemon(direct, OURVIDZ_STOP__GRACE_S="0.2") as worker:
        job = await direct.insert("chat", steps=1000, step_s=0.1)
        await direct.until_running(job)
        async with watching(worker, job) as stream:
            told = []
            async for event in stream.events():
                if not told:
                    stopping = asyncio.create_task(worker.stop())
                told.append(event)
        assert await stopping == 0

        live = [event[1:] for event in told if event[0]]
        assert live[-1] == ("restarted", {"reason": "released"})
        assert {kind for number, kind, _ in told if number == 0} <= {"step"}
        assert await direct.status(job) == "queued"


async def test_an_owner_hears_his_job(supabase: Project, daemon: StartDaemon, gate: Gate) -> None:
    """With broadcasts on, his own client on the job's private topic needs no row to be written."""
    environment = {"OURVIDZ_LIVE__BROADCAST": "true", "OURVIDZ_LIVE__INTERVAL_S": "0.05"}
    async with daemon(supabase, **gate.environment, **environment) as worker:
        user = await supabase.user()
        fake = {"steps": 8, "step_s": 0.05, "preview": 100}
        job = await user.insert("chat", {"prompt": "a lake", "fake": fake})
        stranger = await supabase.user()
        refused = await joined(stranger, job, asyncio.Queue())
        events: asyncio.Queue[Any] = asyncio.Queue()
        assert await joined(user, job, events) == "SUBSCRIBED"
        gate.open()
        heard = []
        async with asyncio.timeout(WITHIN_S):
            while not heard or heard[-1]["event"] != "end":
                heard.append(await events.get())

        row = await user.read(job)
        kinds = {each["event"] for each in heard}
        answer = "".join(each["payload"]["text"] for each in heard if each["event"] == "text")
        assert refused == "CHANNEL_ERROR"
        assert kinds == {"step", "text", "preview", "end"}
        assert answer == row["result"]["response"] == heard[-1]["payload"]["result"]["response"]

        async def counted() -> bool:
            return (await worker.metrics())["ourvidz_live_broadcasts_total"] >= len(heard)

        # A message is counted when the server has taken it; by then it may have been heard.
        await eventually(counted, what="what was heard is counted")
        assert (await worker.metrics())["ourvidz_live_broadcast_failures_total"] == 0


async def joined(user: Any, job: UUID, events: "asyncio.Queue[Any]") -> str:
    """Join a job's topic with a user's own token; return the state that this ends in."""
    client: AsyncClient = user.client
    bearer = client.options.headers["Authorization"].removeprefix("Bearer ")
    await client.realtime.set_auth(bearer)
    config: Any = {"config": {"private": True}}
    channel = client.channel(f"job:{job}", config)
    for kind in ("step", "text", "preview", "end"):
        channel.on_broadcast(kind, events.put_nowait)
    states: asyncio.Queue[str] = asyncio.Queue()
    await channel.subscribe(lambda state, _: states.put_nowait(state.value))
    async with asyncio.timeout(WITHIN_S):
        return await states.get()
