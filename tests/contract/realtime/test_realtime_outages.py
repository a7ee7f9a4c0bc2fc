"""Recordings of outages and limits, played against ours: see `outage_player`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiohttp import web
from outage_player import SPEED, OutagePlayer, World
from outage_recording import TRANSCRIPTS, read
from recorded_client import SECRET

from devstack.postgres import Postgres, Shutdown
from devstack.realtime import Realtime, RealtimeSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = sorted(path.stem for path in TRANSCRIPTS.glob("*.jsonl"))
SLOTS = 3
SCHEMA = TRANSCRIPTS.parent / "schema.sql"
TABLES = """
drop publication if exists supabase_realtime;
create publication supabase_realtime;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public
    grant all on tables to anon, authenticated, service_role;
"""
TABLE_RE = """
drop table if exists public.jobs_re;
create table public.jobs_re (id int primary key, x text);
alter publication supabase_realtime add table public.jobs_re;
"""
TABLE_OTHER = """
drop table if exists public.other;
create table public.other (id int primary key);
"""
# The real server's intervals, shortened as the recordings are.
SETTINGS: dict[str, Any] = {
    "poll_interval_s": 0.1 / SPEED,
    "idle_poll_interval_s": 0.5 / SPEED,
    "publication_check_s": 60 / SPEED,
    "join_error_delay_s": 5 / SPEED,
    "retry_s": 1 / SPEED,
    "max_retry_s": 15 / SPEED,
    "unreachable_error_s": 10 / SPEED,
    "slot_retry_s": 0.1 / SPEED,
    "max_slot_retry_s": 5 / SPEED,
    "max_slot_retries": 6,
    "messages_retry_s": 5 / SPEED,
    "slot_linger_s": 0.2,
}
MORE_SETTINGS: dict[str, dict[str, Any]] = {
    "j05_cold_start_gap": {"cold_start_s": 1.5 / SPEED},
    "k02_message_rate": {"max_messages_per_second": 100},
    "k04_db_changes_rate_limit": {"max_changes_per_second": 100},
}
FLOOD_SIZE = 600
FREE = {
    # The minute's check came in the same second as a row.
    "h04_drop_and_recreate_table": frozenset({"changes"}),
    # Ended again before it had come back.
    "q02_rls_backend_killed_often": frozenset({"changes"}),
    # The recorded server lost its connection for messages a second time, 45 s after the outage.
    "q07_postgres_down_45s": frozenset({"messages"}),
}


class Clock:
    """The recording's time; a full bucket of the averages falls between burst and first row."""

    OFFSET_S = 2.9

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time

    def set(self, time: float) -> None:
        self.time = time + self.OFFSET_S


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Postgres]:
    """A database of these tests alone, since they stop it, with few slots to be taken."""
    settings = {"max_replication_slots": str(SLOTS)}
    async with Postgres(tmp_path_factory.mktemp("postgres"), settings=settings) as server:
        yield server


class Actions:
    """What the recorder did to server and database."""

    def __init__(self, postgres: Postgres, realtime: Realtime, log: Callable[[], str]) -> None:
        self._postgres = postgres
        self._realtime = realtime
        self._log = log

    def notes(self) -> dict[str, Any]:
        """Return what each note stands for, by words of it."""
        return {
            "SIGKILL and start again": self.kill_and_start,
            "walsender ended by SIGTERM": self._postgres.start,
            "SIGTERM": self._realtime.stop,
            "SIGKILL": lambda: self._realtime.stop(None),
            "start again": self._realtime.start,
            "pg_ctl restart -m immediate": self.restart_database,
            "pg_ctl stop -m immediate": lambda: self._postgres.stop("immediate"),
            "pg_ctl stop -m fast": lambda: self._postgres.stop("fast"),
            "pg_ctl start": self._postgres.start,
            "all replication slots taken": self.take_slots,
            "slots free again": self.free_slots,
            "drop and create again": lambda: self._execute(TABLE_RE),
        }

    async def hand_over(self) -> None:
        self._realtime.hand_over()

    async def catch_up(self) -> None:
        """Wait until all messages have been delivered, or lost."""
        node = self._realtime._node
        assert node is not None
        async with node.pool.acquire() as database:
            await node.messages.catch_up(database)

    async def kill_and_start(self) -> None:
        await self._realtime.stop(None)
        await self._realtime.start()

    async def restart_database(self) -> None:
        how: Shutdown = "immediate"
        await self._postgres.stop(how)
        await self._postgres.start()

    async def take_slots(self) -> None:
        taken = 0
        while taken < SLOTS:
            await self._execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots "
                "where active_pid is not null"
            )
            with suppress(asyncpg.ConfigurationLimitExceededError):
                await self._execute(f"select pg_create_physical_replication_slot('taken{taken}')")
                taken += 1

    async def free_slots(self) -> None:
        async with asyncio.timeout(60):
            while "gave up" not in self._log():
                await asyncio.sleep(0.01)
        await self._execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._postgres.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@pytest.mark.parametrize("name", NAMES)
async def test_recording(name: str, postgres: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    """The clients are told what they were told, and rows are lost where rows were lost."""
    connection = await asyncpg.connect(postgres.dsn)
    await connection.execute(TABLES + SCHEMA.read_text() + TABLE_RE + TABLE_OTHER)
    await connection.close()
    clock = Clock()
    settings = RealtimeSettings(**SETTINGS | MORE_SETTINGS.get(name, {}))
    realtime = Realtime(postgres.dsn, SECRET, {}, settings, clock)
    application = web.Application()
    application.add_routes(realtime.routes())
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    try:
        async with realtime:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            actions = Actions(postgres, realtime, lambda: caplog.text)
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/realtime/v1/websocket"
            world = World(url, postgres.dsn, actions.notes(), clock=clock.set)
            if name == "q10_rebalanced":
                # The server did it by itself.
                world.before["values ('a34')"] = actions.hand_over
                world.settle = actions.catch_up
            recording = read(TRANSCRIPTS / f"{name}.jsonl")
            player = OutagePlayer(recording, world, FREE.get(name, frozenset()))

            async def flood() -> None:
                # Of these the recording has only the first.
                clock.time = 3.0
                await player.flood(FLOOD_SIZE, "realtime:flood")
                clock.time = 6.0
                await player.flood(1, "realtime:flood")

            world.before['"Too many messages per second"'] = flood
            await player.play()
            # A minute's rows; the recorded server, which took longer over the burst, lost 67.
            assert name != "k04_db_changes_rate_limit" or 55 <= player.lost <= 67, player.lost
    finally:
        await runner.cleanup()
