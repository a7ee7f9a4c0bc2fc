"""Both official clients watch a job by its broadcasts, held to the policies that ship."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio
from javascript import FOLDER, node_with_client
from scripted import a_job
from supabase import AsyncClient, AsyncClientOptions, create_async_client

from daemon.broadcaster import Broadcaster
from daemon.credentials import Credentials
from daemon.feed import Feed
from daemon.job_run import JobRun
from daemon.jobs import Completed, Recorded
from daemon.migrate import migrate
from daemon.outside_sections import LiveSettings
from daemon.realtime_http import RealtimeHttp
from daemon.telemetry.metrics import Metrics
from daemon.values import StepReport
from devstack.stack import Stack

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings(
        "ignore:ConnectionClosed.(code|reason) is deprecated:DeprecationWarning"
    ),
]
DEADLINE_S = 60.0
SECRET_STEP = "not for strangers"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def project(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A migrated project."""
    async with Stack(tmp_path_factory.mktemp("live-jobs")) as running:
        await migrate(running.dsn, report=lambda _: None)
        yield running


class Worker:
    """A worker's feed and its broadcasts, and one run of a user's row."""

    def __init__(self, project: Stack, job_id: UUID, token: str | None = None) -> None:
        credentials = Credentials(project.anon_key, token or project.worker_token)
        self._endpoint = RealtimeHttp(project.url, credentials, timeout_s=DEADLINE_S)
        self._feed = Feed()
        self.time = 0.0
        self.broadcaster = Broadcaster(
            self._feed,
            self._endpoint,
            LiveSettings(broadcast=True),
            Metrics().live,
            clock=lambda: self.time,
        )
        self.run = JobRun(a_job(id=job_id), 0.0, lambda: 0.0)

    async def show(self, *texts: str, preview: bytes | None = None, step: str = "s") -> None:
        for text in texts or ("",):
            self._feed.stepped(self.run, StepReport(step, 0.5, 1, 2, text, preview))
        await self.broadcaster.flush()

    async def end(self, answer: str) -> None:
        self._feed.ended(self.run, Completed({"response": answer}), Recorded.RECORDED)
        await self.broadcaster.flush()

    async def aclose(self) -> None:
        await self._endpoint.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def user() -> UUID:
    return uuid4()


@pytest_asyncio.fixture(loop_scope="module")
async def worker(project: Stack, user: UUID) -> AsyncIterator[Worker]:
    """Runs a row of the user's."""
    connection = await asyncpg.connect(project.dsn)
    job_id = await connection.fetchval(
        "insert into jobs (job_type, user_id, metadata) values ('chat', $1, '{}') returning id",
        user,
    )
    await connection.close()
    worker = Worker(project, UUID(str(job_id)))
    yield worker
    await worker.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def client_of(project: Stack) -> AsyncIterator[Callable[..., Any]]:
    """Sign users in with the Python client."""
    async with contextlib.AsyncExitStack() as made:

        async def sign_in(user: UUID) -> AsyncClient:
            token = project.token(user)
            connections = await made.enter_async_context(httpx.AsyncClient())
            headers = {"Authorization": f"Bearer {token}"}
            options = AsyncClientOptions(httpx_client=connections, headers=headers)
            client = await create_async_client(project.url, project.anon_key, options)
            await client.realtime.set_auth(token)
            made.push_async_callback(client.realtime.close)
            return client

        yield sign_in


class Watcher:
    """A channel on a job's topic, and what comes on it."""

    def __init__(self, client: AsyncClient, job_id: UUID) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.states: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        config: Any = {"config": {"private": True}}
        self._channel = client.channel(f"job:{job_id}", config)
        for kind in ("step", "text", "preview", "end"):
            self._channel.on_broadcast(kind, self.events.put_nowait)

    async def join(self) -> tuple[str, str]:
        await self._channel.subscribe(
            lambda state, error: self.states.put_nowait((state.value, str(error)))
        )
        async with asyncio.timeout(DEADLINE_S):
            return await self.states.get()

    async def until_end(self) -> list[tuple[str, Any]]:
        found = []
        async with asyncio.timeout(DEADLINE_S):
            while not found or found[-1][0] != "end":
                message = await self.events.get()
                found.append((message["event"], message["payload"]))
        return found


async def test_an_owner_watches_with_supabase_py(
    worker: Worker, user: UUID, client_of: Callable[..., Any]
) -> None:
    """Steps, pieces that join to the answer, previews, and the end, by his own token."""
    watcher = Watcher(await client_of(user), worker.run.job.id)
    assert (await watcher.join())[0] == "SUBSCRIBED"

    await worker.show("Gr", "üß ", preview=b"jpeg")
    await worker.show("\N{GRINNING FACE}")
    await worker.end("Grüß \N{GRINNING FACE}")
    found = await watcher.until_end()

    assert [kind for kind, _ in found] == ["text", "preview", "step", "text", "step", "end"]
    assert (
        "".join(data["text"] for kind, data in found if kind == "text")
        == (found[-1][1]["result"]["response"])
    )
    assert found[1][1]["image"] == "data:image/jpeg;base64,anBlZw=="
    numbers = [data["number"] for _, data in found]
    assert numbers == sorted(set(numbers))


async def test_strangers_are_refused(
    worker: Worker, user: UUID, client_of: Callable[..., Any]
) -> None:
    """Another user can't join, and hears nothing."""
    stranger, owner = await client_of(uuid4()), Watcher(await client_of(user), worker.run.job.id)
    watcher = Watcher(stranger, worker.run.job.id)
    state, error = await watcher.join()
    assert state == "CHANNEL_ERROR"
    assert "You do not have permissions to read" in error

    assert (await owner.join())[0] == "SUBSCRIBED"
    await worker.show(step=SECRET_STEP)
    await worker.end("")
    assert (await owner.until_end())[0][1]["current_step"] == SECRET_STEP
    assert watcher.events.empty()


async def test_nobody_but_the_worker_is_heard(
    project: Stack, worker: Worker, user: UUID, client_of: Callable[..., Any]
) -> None:
    """What the owner himself sends to his job's topic reaches nobody."""
    watcher = Watcher(await client_of(user), worker.run.job.id)
    assert (await watcher.join())[0] == "SUBSCRIBED"
    forger = Worker(project, worker.run.job.id, token=project.token(user))
    await forger.show("forged")
    await forger.end("forged")
    await forger.aclose()

    await worker.show("true")
    await worker.end("true")

    assert "forged" not in str(await watcher.until_end())


async def test_an_owner_watches_with_supabase_js(
    project: Stack, worker: Worker, user: UUID
) -> None:
    """The same in a frontend's language, by one who joined when the answer had begun."""
    await worker.show("\N{GRINNING FACE} ")
    worker.time += 1
    process = await asyncio.create_subprocess_exec(
        *(node_with_client(), "live.mjs", "watcher", str(worker.run.job.id)),
        cwd=FOLDER,
        env={
            "PATH": os.environ["PATH"],
            "URL_OF_STACK": project.url,
            "ANON_KEY": project.anon_key,
            "TOKEN": project.token(user),
        },
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            assert json.loads(await process.stdout.readline()) == {"status": "SUBSCRIBED"}
            await worker.show("G", preview=b"jpeg")
            await worker.show("rüße")
            await worker.end("\N{GRINNING FACE} Grüße")
            said = [json.loads(await process.stdout.readline()) for _ in range(7)]
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    kinds = ["text", "preview", "step", "answer", "text", "step", "end"]
    assert [each["event"] for each in said] == kinds
    assert said[-1]["answer"] == said[-1]["payload"]["result"]["response"]
