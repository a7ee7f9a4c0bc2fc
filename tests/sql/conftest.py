"""A real PostgreSQL with Supabase's roles, and databases in it: migrated or empty."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio
from jobs_database import CreateDatabase, JobsDatabase, opened

from daemon.migrate import migrate
from devstack.postgres import Postgres


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Postgres]:
    """The server; its database `postgres` is a Supabase project, the others are bare."""
    async with Postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated(server: Postgres) -> str:
    """The connection string of the migrated Supabase project.

    Its default privileges give clients all rights to whatever a migration makes: what isn't taken
    back shows here and on no bare database.
    """
    await migrate(server.dsn, report=lambda _: None)
    return server.dsn


@pytest_asyncio.fixture(loop_scope="session")
async def database(migrated: str) -> AsyncIterator[JobsDatabase]:
    """A migrated database, without rows, with the clock at noon."""
    async with opened(migrated) as database:
        await database.reset()
        yield database


@pytest.fixture
def create_database(server: Postgres) -> CreateDatabase:
    """Make an empty database and return its connection string."""

    async def create() -> str:
        return await server.create_database(f"test_{uuid4().hex[:12]}")

    return create
