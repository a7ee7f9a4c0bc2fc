"""One database behind both stores, each reached with the worker's rights alone."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from jobs_database import JobsDatabase, opened, worker_dsn

from daemon.credentials import Credentials
from daemon.migrate import migrate
from daemon.ports import JobStore
from daemon.store.postgres import PostgresStore
from daemon.store.supabase import SupabaseStore
from devstack.stack import Stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The whole stack, migrated."""
    async with Stack(tmp_path_factory.mktemp("stack")) as running:
        await migrate(running.dsn, report=lambda _: None)
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def worker_login(stack: Stack) -> str:
    """A direct connection's login with the worker's rights."""
    return await worker_dsn(stack.dsn)


@pytest_asyncio.fixture(loop_scope="session")
async def database(stack: Stack) -> AsyncIterator[JobsDatabase]:
    """The database as its owner sees it, empty, with the clock at noon."""
    async with opened(stack.dsn) as database:
        await database.reset()
        yield database


@pytest_asyncio.fixture(params=["postgres", "supabase"], loop_scope="session")
async def store(
    request: pytest.FixtureRequest, stack: Stack, worker_login: str
) -> AsyncIterator[JobStore]:
    """Each implementation of the port in turn."""
    store: JobStore
    if request.param == "postgres":
        store = PostgresStore(worker_login, pool_size=8, statement_timeout_s=10)
    else:
        credentials = Credentials(stack.anon_key, stack.worker_token)
        store = SupabaseStore(stack.url, credentials, timeout_s=10)
    yield store
    await store.aclose()
