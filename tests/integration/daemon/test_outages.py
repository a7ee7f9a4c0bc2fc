"""Databases that drop, restart or go away while jobs run: everything completes, nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from daemon_process import SHORT_LEASES, Daemon
from eventually import eventually
from projects import Project, direct_project, supabase_project

from daemon.migrate import migrate
from devstack.postgres import Postgres, free_port
from devstack.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

TERMINATED = 8
"""So many connections does an administrator end before he lets a worker be: a slow one, whose every
connection is ended as soon as it stands, would never come to do anything."""
RARELY = {f"OURVIDZ_WAKEUPS__SWEEP_INTERVAL{kind}_S": "600" for kind in ("", "_BLIND")}
"""A row that nobody told of is found long after the test."""


class Restartable:
    """A server that stops and starts again where it was."""

    def __init__(self, make: Callable[[], Postgres] | Callable[[], Stack]) -> None:
        self._make = make
        self.now = make()

    async def start(self) -> None:
        self.now = self._make()
        await self.now.__aenter__()

    async def stop(self) -> None:
        await self.now.__aexit__(None, None, None)


@asynccontextmanager
async def own_postgres(tmp_path: Path) -> AsyncIterator[tuple[Restartable, Project]]:
    """Run a migrated server for one test, and stop it in the end wherever it stands."""
    port = free_port()
    server = Restartable(lambda: Postgres(tmp_path / "postgres", port=port))
    await server.start()
    try:
        await migrate(server.now.dsn, report=lambda _: None)
        async with direct_project(server.now.dsn, server.now.dsn, tmp_path / "files") as project:
            yield server, project
    finally:
        await server.stop()


async def test_terminated_connections_cost_nothing(direct: Project, daemon: StartDaemon) -> None:
    """An administrator who ends every connection again and again loses no job its attempt."""
    async with daemon(direct) as worker:
        jobs = [await direct.insert("chat", steps=20, step_s=0.05) for _ in range(24)]
        login = urlsplit(direct.environment["DATABASE_URL"]).username
        terminated = 0
        while terminated < TERMINATED:
            terminated += await direct.database.owner.fetchval(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = $1",
                login,
            )
            await asyncio.sleep(0.2)
        assert await direct.status(jobs[-1]) != "completed", "it was too late for all of them"
        for job in jobs:
            await direct.until(job, "completed")
        for job in jobs:
            assert (await direct.database.row(job))["attempts"] == 1
        assert (await worker.get("/health"))[1]["status"] in {"healthy", "degraded"}
        await direct.assert_nothing_held()


async def test_a_restarted_database_loses_no_result(daemon: StartDaemon, tmp_path: Path) -> None:
    """What ends while PostgreSQL is away waits in the outbox and is recorded after it."""
    hold = tmp_path / "hold"
    async with own_postgres(tmp_path) as (server, project), daemon(project, **RARELY) as worker:
        jobs = [await project.insert("chat", hold=str(hold)) for _ in range(4)]
        for job in jobs:
            await project.until_running(job)
        await server.stop()
        hold.touch()
        assert (await worker.get("/health"))[0] == httpx.codes.OK

        async def runs_over() -> bool:
            return "waiting for the database to record outcomes" in worker.log

        await eventually(runs_over)
        assert (await worker.get("/ready"))[0] == httpx.codes.SERVICE_UNAVAILABLE
        await server.start()
        await project.reconnect()
        for job in jobs:
            row = await project.until(job, "completed")
            assert row["attempts"] == 1
        # And it hears of new ones again.
        await project.until(await project.insert(), "completed")
        assert (await worker.get("/ready"))[0] == httpx.codes.OK


async def test_an_outage_beyond_the_lease_stops_the_run(
    daemon: StartDaemon, tmp_path: Path
) -> None:
    """Whoever can't renew his lease stops in time, and the job runs again after the outage."""
    async with (
        own_postgres(tmp_path) as (server, project),
        daemon(project, **SHORT_LEASES) as worker,
    ):
        hold = tmp_path / "hold"
        job = await project.insert("chat", hold=str(hold))
        await project.until_running(job)
        await server.stop()

        async def given_up() -> bool:
            _, status = await worker.get("/status")
            return (status["leases"]["lost"], status["active_jobs"]) == (1, 0)

        await eventually(given_up)
        hold.touch()
        _, health = await worker.get("/health")
        assert "the database does not answer" in health["reasons"]
        await server.start()
        await project.reconnect()
        row = await project.until(job, "completed")
        assert row["attempts"] == 2


@pytest.mark.parametrize("code", [1012, None])
async def test_a_dropped_realtime_connection_is_made_again(
    supabase: Project, daemon: StartDaemon, code: int | None
) -> None:
    """The next insert is heard of, long before any sweep would find it."""
    assert supabase.stack is not None
    faults = supabase.stack.realtime.faults
    async with daemon(supabase, **RARELY) as worker:

        async def connected(generation: int) -> bool:
            _, status = await worker.get("/status")
            state = status["wakeups"]["realtime"]
            return bool(state["ready"]) and state["generations"] >= generation

        await eventually(lambda: connected(1))
        await supabase.until(await supabase.insert(), "completed")
        for generation in (2, 3):
            assert faults.drop_all(code) >= 1
            job = await supabase.insert()
            await supabase.until(job, "completed")
            await eventually(lambda wanted=generation: connected(wanted))  # type: ignore[misc]
            await supabase.until(await supabase.insert(), "completed")


async def test_a_restarted_stack_loses_no_result(daemon: StartDaemon, tmp_path: Path) -> None:
    """REST, Realtime, Storage and database all gone for a while: the picture still arrives."""
    ports = free_port(), free_port()
    server = Restartable(lambda: Stack(tmp_path / "stack", port=ports[0], postgres_port=ports[1]))
    await server.start()
    try:
        assert isinstance(server.now, Stack)
        await migrate(server.now.dsn, report=lambda _: None)
        async with supabase_project(server.now) as project, daemon(project):
            hold = tmp_path / "hold"
            job = await project.insert("sdxl_image_fast", hold=str(hold))
            await project.until_running(job)
            await server.stop()
            hold.touch()
            await server.start()
            await project.reconnect()
            row = await project.until(job, "completed")
            assert row["attempts"] <= 2
            await project.until(await project.insert(), "completed")
    finally:
        await server.stop()


async def test_answers_over_http_need_no_database(daemon: StartDaemon, tmp_path: Path) -> None:
    async with own_postgres(tmp_path) as (server, project), daemon(project) as running:
        await server.stop()
        async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
            response = await client.post("/chat", json={"message": "Hi", "system_prompt": ""})
        assert response.json()["messages_used"] == [{"role": "user", "content": "Hi"}]
        await server.start()
        await project.reconnect()
