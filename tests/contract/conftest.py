"""One database and one whole stack for all contract tests, each started when first asked for."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

import asyncpg
import httpx
import pytest
from supabase import AsyncClient, AsyncClientOptions, create_async_client

from devstack.postgres import Postgres
from devstack.stack import Stack

T = TypeVar("T")


@contextmanager
def in_background(make: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    """Keep a service running on an event loop of its own thread, for tests on any loop."""
    started: list[T] = []
    failures: list[BaseException] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with make() as service:
            started.append(service)
            ready.set()
            await stop.wait()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(serve())
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's thread
            failures.append(error)
        finally:
            loop.close()
            ready.set()

    thread = threading.Thread(target=run, name="service")
    thread.start()
    ready.wait()
    try:
        if failures:
            raise failures[0]
        yield started[0]
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        thread.join()
    if failures:
        raise failures[0]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A running database with Supabase's roles and schemas."""
    with in_background(lambda: Postgres(tmp_path_factory.mktemp("postgres"))) as server:
        yield server


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack: `url`, `dsn` and the keys are all that a client needs."""
    with in_background(lambda: Stack(tmp_path_factory.mktemp("stack"))) as running:
        yield running


@pytest.fixture
async def client_of(stack: Stack) -> AsyncIterator[Callable[..., Awaitable[AsyncClient]]]:
    """Make real Python clients: with a key, or a key and a user's token."""
    made: list[tuple[AsyncClient, httpx.AsyncClient]] = []

    async def make(key: str, token: str | None = None) -> AsyncClient:
        # Without a client of ours the library passes on options that httpx has deprecated.
        connections = httpx.AsyncClient()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        options = AsyncClientOptions(httpx_client=connections, headers=headers)
        client = await create_async_client(stack.url, key, options)
        made.append((client, connections))
        return client

    yield make
    for client, connections in made:
        await client.realtime.close()
        await connections.aclose()


@pytest.fixture
async def service(client_of: Callable[..., Awaitable[AsyncClient]], stack: Stack) -> AsyncClient:
    """A real client whom row level security doesn't hold back."""
    return await client_of(stack.service_role_key)


@pytest.fixture(scope="session")
def run_sql(stack: Stack) -> Callable[[str], None]:
    """Run SQL as the database's owner, for fixtures of any scope."""

    async def run(script: str) -> None:
        connection = await asyncpg.connect(stack.dsn)
        try:
            await connection.execute(script)
        finally:
            await connection.close()

    def run_apart(script: str) -> None:
        # A thread of its own, since a test's loop may already run in this one.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, run(script)).result()

    return run_apart
