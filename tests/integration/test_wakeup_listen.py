"""The LISTEN source on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import asyncpg
import pytest
import pytest_asyncio
from eventually import PATIENCE_S, eventually

from daemon.wakeups.backoff import Backoff
from daemon.wakeups.listen import ListenSource, ListenTimes, refuse_transaction_pooler
from devstack.postgres import Postgres

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("listen")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def postgres(folder: Path) -> AsyncIterator[Postgres]:
    async with Postgres(folder, supabase=False) as running:
        yield running


@asynccontextmanager
async def listening(
    dsn: str, wake: asyncio.Event, times: ListenTimes | None = None
) -> AsyncIterator[ListenSource]:
    source = ListenSource(dsn, times=times, backoff=Backoff(lambda: 0.5, first_s=0.01, cap_s=0.02))
    life = asyncio.create_task(source.run(wake))
    try:
        yield source
        assert not life.done()
    finally:
        life.cancel()
        await asyncio.wait({life})
    assert life.cancelled()


async def woken(wake: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await wake.wait()
    wake.clear()


async def execute(dsn: str, statement: str) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        return str(await connection.fetchval(statement))
    finally:
        await connection.close()


LISTENERS = """
    select count(*) from pg_stat_activity where application_name = 'ourvidz-worker listen'
"""
END_LISTENERS = LISTENERS.replace("*", "pg_terminate_backend(pid)")


async def test_wakes_at_start_and_at_each_notification(postgres: Postgres) -> None:
    """What was queued before the session listened is looked for; then each notice wakes."""
    wake = asyncio.Event()
    async with listening(postgres.dsn, wake) as source:
        await woken(wake)
        assert source.ready

        await execute(postgres.dsn, "select pg_notify('ourvidz_jobs', '')")
        await woken(wake)

        state = source.state()
    assert (state["name"], state["state"], state["hints"]) == ("listen", "ready", 1)


async def test_reconnects_when_its_backend_is_terminated(postgres: Postgres) -> None:
    """A new session wakes: notices to an absent listener are lost."""
    wake = asyncio.Event()
    async with listening(postgres.dsn, wake) as source:
        await woken(wake)

        async def alone() -> bool:
            return await execute(postgres.dsn, LISTENERS) == "1"

        await eventually(alone, what="sessions of other tests have ended")
        assert await execute(postgres.dsn, END_LISTENERS) == "1"
        await woken(wake)

        await execute(postgres.dsn, "select pg_notify('ourvidz_jobs', '')")
        await woken(wake)

        state = source.state()
    assert (state["generations"], state["last_error"]) == (2, "the server ended the session")


async def test_probes_prove_a_session_alive(postgres: Postgres) -> None:
    """Many probes on a quiet table leave the session as it is."""
    wake = asyncio.Event()
    async with listening(postgres.dsn, wake, ListenTimes(probe_every_s=0.001)) as source:
        await woken(wake)
        for _ in range(20):
            await execute(postgres.dsn, "select pg_notify('ourvidz_jobs', '')")
            await woken(wake)
        assert source.state()["generations"] == 1


async def test_a_probe_without_an_answer_ends_the_session(postgres: Postgres) -> None:
    """A network that swallows everything shows by the probe alone."""
    wake = asyncio.Event()
    async with Swallower(postgres.port) as network:
        dsn = postgres.dsn.replace(f":{postgres.port}/", f":{network.port}/")
        times = ListenTimes(probe_every_s=0.01, probe_within_s=0.1, close_s=0.1)
        async with listening(dsn, wake, times) as source:
            await woken(wake)
            network.swallow()
            await woken(wake)
            assert source.state()["last_error"] == "TimeoutError"


async def test_finds_a_server_that_was_restarted(folder: Path, postgres: Postgres) -> None:
    """The source goes on trying while the server is down, and wakes when it is back."""
    other = folder / "restarted"
    wake = asyncio.Event()
    async with Postgres(other, supabase=False) as first:
        port, dsn = first.port, first.dsn
    async with listening(dsn, wake) as source:
        async with Postgres(other, port=port, supabase=False):
            await woken(wake)
        async with asyncio.timeout(PATIENCE_S):
            while source.ready:
                await asyncio.sleep(0)
        async with Postgres(other, port=port, supabase=False):
            await woken(wake)
            assert source.ready


async def test_shows_no_password_when_it_is_refused(postgres: Postgres) -> None:
    """A wrong password is an error that an operator reads in a status."""
    dsn = postgres.dsn.replace("postgres://postgres:", "postgres://postgres:wrong-")
    wake = asyncio.Event()
    async with listening(dsn, wake) as source:
        async with asyncio.timeout(PATIENCE_S):
            while (error := source.state()["last_error"]) is None:
                await asyncio.sleep(0)
        assert not source.ready
    assert "password authentication failed" in error
    assert "wrong-" not in error


@pytest.mark.parametrize(
    ("dsn", "found"),
    [
        ("postgres://w:p@aws-0-eu.pooler.supabase.com:6543/postgres", "port 6543"),
        ("postgres://w:p@db.example.org:5432/postgres?pgbouncer=true", "pgbouncer=true"),
        ("postgres://w:p@db.example.org:54x2/postgres", "can't be read"),
    ],
)
async def test_refuses_a_transaction_pooler(dsn: str, found: str) -> None:
    """LISTEN succeeds there and hears nothing; the sentence says what to use."""
    sentence = refuse_transaction_pooler(dsn)
    assert sentence is not None
    assert found in sentence
    assert "w:p" not in sentence


@pytest.mark.parametrize(
    "dsn",
    [
        "postgres://w:p@db.project.supabase.co:5432/postgres",
        "postgres://w:p@aws-0-eu.pooler.supabase.com:5432/postgres",
        "postgres://w:p@localhost/postgres",
    ],
)
async def test_takes_connections_with_a_session(dsn: str) -> None:
    """The direct connection and the pooler's session mode keep a session."""
    assert refuse_transaction_pooler(dsn) is None


class Swallower:
    """A network in between that can stop delivering without closing anything."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._swallowing: set[asyncio.Task[None]] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for pump in self._pumps | self._swallowing:
            pump.cancel()
        await asyncio.gather(*self._pumps, *self._swallowing, return_exceptions=True)

    def swallow(self) -> None:
        """Deliver nothing more on the connections that are open now."""
        self._swallowing |= self._pumps
        self._pumps = set()

    async def _connect(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, forth = await asyncio.open_connection("127.0.0.1", self._target)
        for reader, writer in ((near, forth), (far, back)):
            self._pumps.add(asyncio.create_task(self._pump(reader, writer)))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if asyncio.current_task() not in self._swallowing:
                    writer.write(data)
        finally:
            writer.close()
