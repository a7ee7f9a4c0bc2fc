"""The sources on the whole local stack: the real client, a real database, the real triggers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
import pytest_asyncio
from eventually import PATIENCE_S

from daemon.credentials import Credentials
from daemon.migrate import migrate
from daemon.ports import WakeUpSource
from daemon.wakeups.backoff import Backoff
from daemon.wakeups.generation import GenerationTimes
from daemon.wakeups.listen import ListenSource
from daemon.wakeups.realtime import BroadcastSource, RealtimeSource
from devstack.realtime import RealtimeSettings
from devstack.stack import Stack
from devstack.tokens import mint

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # The client logs a closed connection through an attribute that websockets has deprecated.
    pytest.mark.filterwarnings(
        "ignore:ConnectionClosed.(code|reason) is deprecated:DeprecationWarning"
    ),
]

SLOW = GenerationTimes(wake_again_s=60)
INSERT = "insert into jobs (job_type, metadata) values ('chat', '{}') returning id"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    settings = RealtimeSettings(poll_interval_s=0.02, idle_poll_interval_s=0.02)
    async with Stack(tmp_path_factory.mktemp("stack"), realtime=settings) as running:
        await migrate(running.dsn, report=lambda _: None)
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def database(stack: Stack) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(stack.dsn)
    yield connection
    await connection.close()


@asynccontextmanager
async def running(source: WakeUpSource, wake: asyncio.Event) -> AsyncIterator[None]:
    life = asyncio.create_task(source.run(wake))
    try:
        yield
        assert not life.done()
    finally:
        life.cancel()
        await asyncio.wait({life})


async def woken(wake: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await wake.wait()
    wake.clear()


def worker_of(stack: Stack) -> Credentials:
    return Credentials(stack.anon_key, stack.worker_token)


def realtime(
    stack: Stack, credentials: Credentials | None = None, **times: float
) -> RealtimeSource:
    return RealtimeSource(
        stack.url,
        credentials or worker_of(stack),
        recycle_after_s=3600,
        times=GenerationTimes(**({"wake_again_s": 60.0} | times)),
        backoff=Backoff(lambda: 0.5, first_s=0.02, cap_s=0.05),
    )


@pytest.mark.parametrize(
    "credentials_of",
    [
        pytest.param(worker_of, id="worker"),
        pytest.param(
            lambda stack: Credentials(stack.keys.publishable, stack.worker_token), id="publishable"
        ),
        pytest.param(lambda stack: Credentials(stack.service_role_key), id="service_role"),
        pytest.param(lambda stack: Credentials(stack.keys.secret), id="secret"),
    ],
)
async def test_an_inserted_row_wakes(
    stack: Stack,
    database: "asyncpg.Connection[asyncpg.Record]",
    credentials_of: Callable[[Stack], Credentials],
) -> None:
    """The least of rights hears of new rows, and of rows that are queued again."""
    source, wake = realtime(stack, credentials_of(stack)), asyncio.Event()
    async with running(source, wake):
        await woken(wake)
        job = await database.fetchval(INSERT)
        await woken(wake)

        await database.execute("update jobs set status = 'processing' where id = $1", job)
        await database.execute("update jobs set status = 'queued' where id = $1", job)
        await woken(wake)
        assert source.state()["hints"] == 2


async def test_the_end_of_a_token_ends_a_connection(stack: Stack) -> None:
    """The next ones are refused, and all for the same plain reason."""
    token = mint(stack.jwt_secret, "ourvidz_worker", expires_in=8)
    source, wake = realtime(stack, Credentials(stack.anon_key, token)), asyncio.Event()
    async with running(source, wake):
        await woken(wake)
        assert source.ready

        async with asyncio.timeout(PATIENCE_S):
            while source.state()["generations"] < 3:
                await asyncio.sleep(0)

        assert not source.ready
        assert source.state()["last_error"] == "the worker's token has expired"


async def test_a_notification_wakes(
    stack: Stack, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """The table's own trigger is heard by LISTEN."""
    source, wake = ListenSource(stack.dsn), asyncio.Event()
    async with running(source, wake):
        await woken(wake)
        await database.fetchval(INSERT)
        await woken(wake)


async def test_a_broadcast_wakes(
    stack: Stack, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """The table's own trigger is heard on its private topic, by the least of keys."""
    source = BroadcastSource(stack.url, worker_of(stack), recycle_after_s=3600, times=SLOW)
    wake = asyncio.Event()
    async with running(source, wake):
        await woken(wake)
        await database.fetchval(INSERT)
        await woken(wake)
        assert source.state()["hints"] == 1


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, None])
async def test_comes_back_after_the_server_closed(
    stack: Stack, database: "asyncpg.Connection[asyncpg.Record]", code: int | None
) -> None:
    """A deployment, an overload, a cut cable: the next connection hears."""
    source, wake = realtime(stack), asyncio.Event()
    async with running(source, wake):
        await woken(wake)
        assert stack.realtime.faults.drop_all(code) == 1
        await woken(wake)

        await database.fetchval(INSERT)
        await woken(wake)
        assert source.state()["generations"] == 2


async def test_comes_back_when_handshakes_are_taken_again(stack: Stack) -> None:
    """An outage of the server ends some time."""
    source, wake = realtime(stack), asyncio.Event()
    faults = stack.realtime.faults
    async with running(source, wake):
        await woken(wake)
        faults.refuse = True
        faults.drop_all(1012)
        async with asyncio.timeout(PATIENCE_S):
            while source.state()["generations"] < 4:
                await asyncio.sleep(0)
        assert "HTTP 503" in source.state()["last_error"]
        faults.refuse = False
        await woken(wake)
        assert source.ready


async def test_an_unconfirmed_subscription_is_given_up(stack: Stack) -> None:
    """A join that is answered and never confirmed hears nothing for certain."""
    source, wake = realtime(stack, ready_within_s=2), asyncio.Event()
    faults = stack.realtime.faults
    faults.mute_system_ok = True
    async with running(source, wake):
        async with asyncio.timeout(PATIENCE_S):
            while source.state()["last_error"] is None:
                await asyncio.sleep(0)
        faults.mute_system_ok = False
        await woken(wake)
        assert source.ready


async def test_a_deaf_connection_is_replaced_when_it_is_doubted(
    stack: Stack, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """The server lost its feed without a word: only a row found by the sweep shows it."""
    source, wake = realtime(stack), asyncio.Event()
    faults = stack.realtime.faults
    async with running(source, wake):
        await woken(wake)
        faults.deaf = True
        await database.fetchval(INSERT)
        faults.repeat_system_ok()
        await woken(wake)
        assert source.state()["hints"] == 0
        faults.deaf = False

        source.doubt("a row waited unannounced")
        await woken(wake)
        await database.fetchval(INSERT)
        await woken(wake)
        assert source.state()["hints"] >= 1
