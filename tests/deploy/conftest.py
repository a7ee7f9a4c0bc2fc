"""Real databases for the daemons that real supervisors start."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from jobs_database import worker_dsn
from projects import DirectServer, Project

from daemon.migrate import migrate
from devstack.postgres import Postgres


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def direct_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DirectServer]:
    """PostgreSQL with a migrated template."""
    async with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        template = await server.create_database("template_migrated")
        await migrate(template, report=lambda _: None)
        yield DirectServer(server.dsn, "template_migrated", await worker_dsn(server.dsn))


@pytest_asyncio.fixture(loop_scope="session")
async def direct(direct_server: DirectServer, tmp_path: Path) -> AsyncIterator[Project]:
    """A clean database."""
    async with direct_server.project(tmp_path / "files") as opened:
        yield opened
