"""Projects for whole daemons: one server and one stack for all tests, a clean database for each."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from asking import WITHIN_S
from daemon_process import Daemon
from jobs_database import worker_dsn
from projects import DirectServer, Project, supabase_project

from daemon.migrate import migrate
from devstack.postgres import Postgres
from devstack.stack import Stack

StartDaemon = Callable[..., Daemon]
OpenProject = Callable[[], AbstractAsyncContextManager[Project]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def direct_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DirectServer]:
    """PostgreSQL with a migrated template, and no Supabase in its databases."""
    async with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        template = await server.create_database("template_migrated")
        await migrate(template, report=lambda _: None)
        yield DirectServer(server.dsn, "template_migrated", await worker_dsn(server.dsn))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The whole stack, migrated."""
    async with Stack(tmp_path_factory.mktemp("stack")) as running:
        await migrate(running.dsn, report=lambda _: None)
        yield running


@pytest.fixture(params=["direct", "supabase"])
def open_project(request: pytest.FixtureRequest, tmp_path: Path) -> OpenProject:
    """Say how to open each kind of project in turn; only the server that it needs is started."""
    if request.param == "direct":
        server: DirectServer = request.getfixturevalue("direct_server")
        return lambda: server.project(tmp_path / "files")
    stack: Stack = request.getfixturevalue("stack")
    return lambda: supabase_project(stack)


@pytest_asyncio.fixture(loop_scope="session")
async def project(open_project: OpenProject) -> AsyncIterator[Project]:
    """Each kind of project in turn."""
    async with open_project() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def direct(direct_server: DirectServer, tmp_path: Path) -> AsyncIterator[Project]:
    """Bare PostgreSQL, for what doesn't depend on the kind of project."""
    async with direct_server.project(tmp_path / "files") as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def supabase(stack: Stack) -> AsyncIterator[Project]:
    """The whole stack's project."""
    async with supabase_project(stack) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def daemon(tmp_path: Path) -> AsyncIterator[StartDaemon]:
    """Make daemons of one host; those of the same name take over from one another."""
    made: list[Daemon] = []

    def make(project: Project, name: str = "worker", **environment: str) -> Daemon:
        settings = {**project.environment, "OURVIDZ_WORKER_NAME": name, **environment}
        made.append(Daemon(tmp_path / "host", settings, secrets=project.secrets))
        return made[-1]

    yield make
    for each in made:
        await each.clear_away()


@pytest_asyncio.fixture(loop_scope="session")
async def serving(daemon: StartDaemon, direct: Project) -> AsyncIterator[Daemon]:
    """One daemon that serves everything."""
    async with daemon(direct) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def client(serving: Daemon) -> AsyncIterator[httpx.AsyncClient]:
    """Its client."""
    async with httpx.AsyncClient(base_url=serving.url, timeout=WITHIN_S) as opened:
        yield opened
