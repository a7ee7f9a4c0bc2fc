"""Both official clients, as frontend and as worker, on the schema as it ships."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio
from javascript import FOLDER, node_with_client
from realtime import RealtimePostgresChangesListenEvent as Listen
from supabase import AsyncClient, AsyncClientOptions, create_async_client

from daemon.migrate import migrate
from devstack.stack import Stack

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings(
        "ignore:ConnectionClosed.(code|reason) is deprecated:DeprecationWarning"
    ),
]
DEADLINE_S = 60.0
POLICY = """
create policy hears on realtime.messages for select to authenticated
using (realtime.topic() = 'user:' || (select auth.uid()))
"""
SEND = "select realtime.send(jsonb_build_object('n', $1::integer), 'news', $2, true)"

Script = Callable[..., Any]
MakeClient = Callable[[str], Awaitable[AsyncClient]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def project(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A migrated project."""
    async with Stack(tmp_path_factory.mktemp("live")) as running:
        await migrate(running.dsn, report=lambda _: None)
        owner = await asyncpg.connect(running.dsn)
        await owner.execute(POLICY)
        await owner.close()
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def owner(project: Stack) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """The database's owner; no job is left from an earlier test."""
    connection = await asyncpg.connect(project.dsn)
    await connection.execute("truncate jobs, job_runs; truncate realtime.messages")
    yield connection
    await connection.close()


class Node:
    """A running script of `live.mjs`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        self._lines = process.stdout

    async def said(self, *keys: str) -> dict[str, Any]:
        """Return the next thing it says that has these keys."""
        async with asyncio.timeout(DEADLINE_S):
            while line := await self._lines.readline():
                said: dict[str, Any] = json.loads(line)
                if said.keys() >= set(keys):
                    return said
        raise AssertionError(f"the script ended without saying {keys}")


@pytest.fixture
def script(project: Stack) -> Script:
    """Run a script with a token, until the end of the block."""
    node = node_with_client()

    @contextlib.asynccontextmanager
    async def running(name: str, token: str, *words: str, vsn: str = "") -> AsyncIterator[Node]:
        environment = {
            "PATH": os.environ["PATH"],
            "URL_OF_STACK": project.url,
            "ANON_KEY": project.anon_key,
            "TOKEN": token,
            "VSN": vsn,
        }
        process = await asyncio.create_subprocess_exec(
            *(node, "live.mjs", name, *words),
            cwd=FOLDER,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            yield Node(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    return running


@pytest_asyncio.fixture(loop_scope="module")
async def client_with(project: Stack) -> AsyncIterator[MakeClient]:
    """Make Python clients that carry a token."""
    made: list[tuple[AsyncClient, httpx.AsyncClient]] = []

    async def make(token: str) -> AsyncClient:
        connections = httpx.AsyncClient()
        headers = {"Authorization": f"Bearer {token}"}
        options = AsyncClientOptions(httpx_client=connections, headers=headers)
        client = await create_async_client(project.url, project.anon_key, options)
        await client.realtime.set_auth(token)
        made.append((client, connections))
        return client

    yield make
    for client, connections in made:
        await client.realtime.close()
        await connections.aclose()


async def taken(queue: "asyncio.Queue[Any]") -> Any:
    async with asyncio.timeout(DEADLINE_S):
        return await queue.get()


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_a_worker_in_javascript_serves_a_frontend_in_python(
    project: Stack,
    owner: "asyncpg.Connection[Any]",
    script: Script,
    client_with: MakeClient,
    vsn: str,
) -> None:
    """Broadcast, claim and finish with the worker's token; the owner sees every change."""
    del owner
    user = uuid4()
    frontend = await client_with(project.token(user))
    rows: asyncio.Queue[Any] = asyncio.Queue()
    ready = asyncio.Event()
    channel = frontend.channel("mine")
    channel.on_postgres_changes(
        Listen.Update,
        schema="public",
        table="jobs",
        filter=f"user_id=eq.{user}",
        callback=lambda payload: rows.put_nowait(payload["data"]["record"]),
    )
    channel.on_system(lambda _: ready.set())
    await channel.subscribe()
    async with script("worker", project.worker_token, vsn=vsn) as worker:
        assert (await worker.said("status"))["status"] == "SUBSCRIBED"
        async with asyncio.timeout(DEADLINE_S):
            await ready.wait()
        inserted = (
            await frontend.from_("jobs")
            .insert({"user_id": str(user), "job_type": "chat", "metadata": {"prompt": "a lake"}})
            .execute()
        )
        done = await worker.said("done")

        assert done["done"] == inserted.data[0]["id"]
        seen = [await taken(rows) for _ in range(2)]
        assert [row["status"] for row in seen] == ["processing", "completed"]
        assert seen[1]["result"] == {"text": "from JavaScript"}


async def test_a_worker_in_python_serves_a_frontend_in_javascript(
    project: Stack,
    owner: "asyncpg.Connection[Any]",
    script: Script,
    client_with: MakeClient,
) -> None:
    """The same the other way round, by row changes instead of the broadcast."""
    del owner
    worker = await client_with(project.worker_token)
    hints: asyncio.Queue[Any] = asyncio.Queue()
    channel = worker.channel("worker")
    channel.on_postgres_changes(
        Listen.Insert, schema="public", table="jobs", callback=hints.put_nowait
    )
    channel.on_system(hints.put_nowait)
    await channel.subscribe()
    await taken(hints)
    async with script("frontend", project.token(uuid4())) as frontend:
        assert (await frontend.said("inserted"))["inserted"] == "queued"
        await taken(hints)
        claim = {
            "p_worker_id": "py",
            "p_instance_id": str(uuid4()),
            "p_request_id": str(uuid4()),
            "p_demands": [{"job_types": ["chat"], "count": 5}],
            "p_lease_s": 30,
        }
        [job] = (await worker.rpc("claim_jobs", claim).execute()).data
        assert (await frontend.said("row"))["row"] == ["processing", None]
        finish = {
            "claim_id": job["claim_id"],
            "outcome": "completed",
            "result": {"text": "from Python"},
        }
        await worker.rpc("finish_jobs", {"p_finishes": [finish]}).execute()
        assert (await frontend.said("row"))["row"] == ["completed", {"text": "from Python"}]


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_private_topics_in_javascript(
    project: Stack, owner: "asyncpg.Connection[Any]", script: Script, vsn: str
) -> None:
    """Policies decide who joins; the database's messages arrive, earlier ones by a replay."""
    user = uuid4()
    token, topic = project.token(user), f"user:{user}"
    began = int(time.time() * 1000) - 1000
    await owner.execute(SEND, 1, topic)
    async with script("listener", token, topic, str(began), vsn=vsn) as listener:
        assert await listener.said("n") == {"event": "news", "n": 1, "replayed": True}
        await owner.execute(SEND, 2, topic)
        assert await listener.said("n") == {"event": "news", "n": 2, "replayed": False}
    async with script("listener", token, f"user:{uuid4()}", vsn=vsn) as stranger:
        refused = await stranger.said("status", "error")
        assert refused["status"] == "CHANNEL_ERROR"
        assert "You do not have permissions to read" in refused["error"]


async def test_private_topics_in_python(
    project: Stack, owner: "asyncpg.Connection[Any]", client_with: MakeClient
) -> None:
    """The same with supabase-py."""
    user = uuid4()
    topic = f"user:{user}"
    client = await client_with(project.token(user))
    heard: asyncio.Queue[Any] = asyncio.Queue()
    states: asyncio.Queue[Any] = asyncio.Queue()
    mine = client.channel(topic, {"config": {"private": True}})  # type: ignore[typeddict-item]  # the package wants every key
    mine.on_broadcast("news", heard.put_nowait)
    await mine.subscribe(lambda state, _: states.put_nowait(state.value))
    assert await taken(states) == "SUBSCRIBED"
    await owner.execute(SEND, 3, topic)
    message = await taken(heard)
    assert (message["event"], message["payload"]["n"]) == ("news", 3)

    errors: asyncio.Queue[Any] = asyncio.Queue()
    other = client.channel(f"user:{uuid4()}", {"config": {"private": True}})  # type: ignore[typeddict-item]  # as above
    await other.subscribe(lambda state, error: errors.put_nowait((state.value, str(error))))
    state, error = await taken(errors)
    assert state == "CHANNEL_ERROR"
    assert "You do not have permissions to read" in error


async def test_two_languages_in_one_room(
    project: Stack, script: Script, client_with: MakeClient
) -> None:
    """Broadcasts and presence between clients, both ways."""
    async with script("guest", project.token(uuid4())) as guest:
        await guest.said("status")
        client = await client_with(project.token(uuid4()))
        answers: asyncio.Queue[Any] = asyncio.Queue()
        present: asyncio.Queue[str] = asyncio.Queue()
        room = client.channel(
            "room",
            {"config": {"presence": {"key": "py", "enabled": True}}},  # type: ignore[typeddict-item]  # the package wants every key
        )
        room.on_broadcast("answer", answers.put_nowait)
        room.on_presence_join(lambda key, *_: present.put_nowait(key))
        subscribed = asyncio.Event()
        await room.subscribe(lambda *_: subscribed.set())
        async with asyncio.timeout(DEADLINE_S):
            await subscribed.wait()
        await room.track({"language": "Python"})
        while (await guest.said("joined"))["joined"] != "py":
            pass
        while await taken(present) != "js":
            pass
        await room.send_broadcast("hello", {"from": "py"})
        assert (await guest.said("hello"))["hello"] == "py"
        assert (await taken(answers))["payload"] == {"to": "py"}
        await client.realtime.close()
        assert (await guest.said("left"))["left"] == "py"
