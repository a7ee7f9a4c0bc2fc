"""One database and one whole stack for all contract tests, each started when first asked for."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

import pytest

from devstack.postgres import Postgres

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
        try:
            async with make() as service:
                started.append(service)
                ready.set()
                await stop.wait()
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            ready.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(serve())
        except Exception as error:  # noqa: BLE001 - raised below, in the test's thread
            failures.append(error)
        finally:
            loop.close()

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
