"""Every way in which the server fails, on a real stack: the source hears again afterwards.

Most of them say nothing to the client, and only a canary shows them. How long each takes with the
daemon's own time limits is measured by `benchmarks/wakeup_recovery.py`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from eventually import eventually

from daemon.credentials import Credentials
from daemon.migrate import migrate
from daemon.store.postgres import PostgresStore
from daemon.wakeups.backoff import Backoff
from daemon.wakeups.generation import GenerationTimes
from daemon.wakeups.listen import ListenSource, ListenTimes
from daemon.wakeups.proof import ProofOfLife, ProofTimes
from daemon.wakeups.realtime import BroadcastSource, RealtimeSource
from devstack.realtime import RealtimeSettings
from devstack.stack import Stack

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # The client logs a closed connection through an attribute that websockets has deprecated.
    pytest.mark.filterwarnings(
        "ignore:ConnectionClosed.(code|reason) is deprecated:DeprecationWarning"
    ),
]

INSERT = """insert into jobs (job_type, metadata) values ('chat', '{"prompt": "a"}')"""
TIMES = GenerationTimes(ready_within_s=3, silent_for_s=4, wake_again_s=60, close_within_s=0.3)
PROOF = ProofTimes(interval_s=0.4, within_s=2.0, again_s=0.2)
LIMITS = RealtimeSettings(
    poll_interval_s=0.02,
    idle_poll_interval_s=0.02,
    messages_retry_s=0.1,
    retry_s=0.2,
    max_changes_per_second=100,
    rate_window_s=1.0,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with Stack(tmp_path_factory.mktemp("stack"), realtime=LIMITS) as running:
        await migrate(running.dsn, report=lambda _: None)
        yield running


def source_of(kind: str, stack: Stack) -> Any:
    backoff = Backoff(lambda: 0.1)
    if kind == "listen":
        times = ListenTimes(probe_every_s=0.5, probe_within_s=1.0)
        return ListenSource(stack.dsn, times=times, backoff=backoff)
    made: type[RealtimeSource] = BroadcastSource if kind == "broadcast" else RealtimeSource
    credentials = Credentials(stack.anon_key, stack.worker_token)
    return made(stack.url, credentials, recycle_after_s=3600, times=TIMES, backoff=backoff)


@asynccontextmanager
async def proven(kind: str, stack: Stack) -> AsyncIterator[Any]:
    """Run a source with canaries, and yield it when it is proven."""
    source = source_of(kind, stack)
    store = PostgresStore(stack.dsn, pool_size=1, statement_timeout_s=5)
    proof = ProofOfLife(store.beat_canary, [source], PROOF)
    running = [asyncio.create_task(each) for each in (source.run(asyncio.Event()), proof.run())]
    try:
        await eventually(lambda: proof.proven(source), what=f"{kind} is proven")
        yield source
        assert not any(each.done() for each in running)
    finally:
        for each in running:
            each.cancel()
        await asyncio.wait(running)
        await store.aclose()


async def hears(source: Any, stack: Stack, after: float) -> None:
    """Insert rows until the source is told of one, on a connection made after that moment."""

    async def told() -> bool:
        connection = await asyncpg.connect(stack.dsn)
        try:
            await connection.execute(INSERT)
        finally:
            await connection.close()
        await asyncio.sleep(0.05)
        hint_at = source.record.hint_at or 0.0
        return bool(source.link.ready and hint_at > source.link.since > after)

    await eventually(told, 120, what="a row is heard of by a new connection")


Fault = Callable[[Stack], Awaitable[None]]


def once(act: Callable[[Stack], object]) -> Fault:
    async def fault(stack: Stack) -> None:
        act(stack)

    return fault


def until_noticed(**switches: Any) -> Fault:
    """Cut all connections; the switches are on until some new ones have been tried."""

    async def fault(stack: Stack) -> None:
        faults = stack.realtime.faults
        usual = {name: getattr(faults, name) for name in switches}
        for name, value in switches.items():
            setattr(faults, name, value)
        faults.drop_all(None)
        await asyncio.sleep(1.0)  # the length of the outage is a part of the fault
        for name, value in usual.items():
            setattr(faults, name, value)

    return fault


async def restarts_the_server(stack: Stack) -> None:
    await stack.restart_realtime()


async def is_killed(stack: Stack) -> None:
    await stack.restart_realtime(kill=True)


async def restarts_the_database(stack: Stack) -> None:
    await stack.restart_database("immediate")


async def trips_the_rate_limit(stack: Stack) -> None:
    """More rows than the tenant may have: the changes after them are dropped without a word."""
    connection = await asyncpg.connect(stack.dsn)
    await connection.execute(f"{INSERT[: INSERT.index('values')]} select 'chat', '{{}}' "
                             "from generate_series(1, 400)")  # fmt: skip
    await connection.close()


@pytest.mark.parametrize(
    "fault",
    [
        *[
            pytest.param(once(lambda s, code=code: s.realtime.faults.drop_all(code)), id=str(code))
            for code in (1000, 1001, 1009, 1011, 1012)
        ],
        pytest.param(once(lambda s: s.realtime.faults.drop_all(None)), id="TCP reset"),
        pytest.param(once(lambda s: s.realtime.faults.stall_all()), id="half-open TCP"),
        pytest.param(until_noticed(refuse=True), id="refused"),
        *[
            pytest.param(
                until_noticed(refuse=True, refuse_status=status, refuse_error="no"),
                id=f"refused with {status}",
            )
            for status in (401, 403, 404, 429)
        ],
        pytest.param(until_noticed(ignore_joins=True), id="join never answered"),
        pytest.param(until_noticed(late_join_reply_s=5.0), id="join answered late"),
        pytest.param(until_noticed(refuse_joins="Unauthorized: no"), id="join refused"),
        pytest.param(until_noticed(mute_system_ok=True), id="never confirmed"),
        pytest.param(
            once(lambda s: s.realtime.faults.send_system_error("Unable to subscribe")),
            id="system error",
        ),
        pytest.param(once(lambda s: s.realtime.faults.crash_channels()), id="channel crashed"),
        pytest.param(once(lambda s: s.realtime.faults.send_stale_close()), id="stale phx_close"),
        pytest.param(once(lambda s: s.realtime.faults.send_oversize()), id="oversize frame"),
        pytest.param(once(lambda s: s.realtime.give_up()), id="joined and deaf for ever"),
        pytest.param(restarts_the_server, id="server restarted"),
        pytest.param(is_killed, id="server killed"),
    ],
)
async def test_realtime_hears_again_after(fault: Fault, stack: Stack) -> None:
    """The connection ends, or is found out by a canary; a new one hears."""
    async with proven("realtime", stack) as source:
        began = time.monotonic()
        await fault(stack)
        await hears(source, stack, began)


@pytest.mark.parametrize("kind", ["realtime", "broadcast", "listen"])
async def test_a_restarted_database_is_heard_again(kind: str, stack: Stack) -> None:
    """Nobody tells a Realtime client of it; it resumes by itself, or is replaced."""
    async with proven(kind, stack) as source:
        before = source.record.hints
        await stack.restart_database("immediate")
        await until_heard(source, stack, before)


async def until_heard(source: Any, stack: Stack, before: int) -> None:
    """Insert rows until the source is told of one, on whichever connection."""

    async def told() -> bool:
        connection = await asyncpg.connect(stack.dsn)
        try:
            await connection.execute(INSERT)
        finally:
            await connection.close()
        await asyncio.sleep(0.05)
        return bool(source.record.hints > before)

    await eventually(told, 120, what="a row is heard of")


async def test_a_tripped_rate_limit_is_survived(stack: Stack) -> None:
    """Every change is dropped for as long as the average is too high, canaries too."""
    async with proven("realtime", stack) as source:

        async def noticed() -> bool:
            await trips_the_rate_limit(stack)
            await asyncio.sleep(0.5)
            return bool(source.record.missed_canaries > 0)

        # Again and again, so that a canary falls into it.
        await eventually(noticed, what="it is noticed")
        await until_heard(source, stack, source.record.hints)


@pytest.mark.parametrize("text", ['{"topic": "realtime:', "[]", "null", '{"event": 5}', "[1,2]"])
async def test_a_frame_of_nonsense_doesnt_deafen(text: str, stack: Stack) -> None:
    """The client may choke on it; the source goes on with it or without."""
    async with proven("realtime", stack) as source:
        before = source.record.hints
        stack.realtime.faults.send_all(text)
        await until_heard(source, stack, before)


async def test_an_unasked_confirmation_has_the_table_read(stack: Stack) -> None:
    """The server has rebuilt its side: rows may have come unannounced, and the proof is old."""
    async with proven("realtime", stack) as source:
        canaries, generations = source.record.canaries, source.record.generations
        stack.realtime.faults.repeat_system_ok()
        await eventually(lambda: source.record.canaries > canaries, what="it is proven anew")
        assert source.record.generations == generations


@pytest.mark.parametrize("switch", ["deaf_to_messages", "deaf_until_join"])
async def test_a_broadcast_that_stops_is_found_out(switch: str, stack: Stack) -> None:
    """No rights, no partition, a region's move: each looks like silence, and a rejoin may heal."""
    faults = stack.realtime.faults
    async with proven("broadcast", stack) as source:
        began = time.monotonic()
        setattr(faults, switch, True)
        await eventually(lambda: source.record.doubts > 0, what="it is doubted")
        setattr(faults, switch, False)
        await hears(source, stack, began)


async def test_a_gap_of_the_broadcast_is_replayed(stack: Stack) -> None:
    """What was sent while the source was away is told when it is back."""
    async with proven("broadcast", stack) as source:
        stack.realtime.faults.refuse = True
        stack.realtime.faults.drop_all(1012)
        await eventually(lambda: not source.link.ready, what="the connection is lost")
        before = source.record.hints
        connection = await asyncpg.connect(stack.dsn)
        await connection.execute(INSERT)
        await connection.close()
        stack.realtime.faults.refuse = False
        await eventually(lambda: source.record.hints > before, what="the hint is replayed")
