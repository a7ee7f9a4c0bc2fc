"""Recordings without the statements that led to them, which are put back here."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import asyncpg
from recorded_client import Reader, Tokens, topic_of
from recorded_frames import compare
from replication import read_past
from transcript_player import TRANSCRIPTS

Serve = Callable[..., Any]
Database = asyncpg.Connection
Statements = Callable[[dict[str, Any]], Awaitable[None]]

INSERT = "insert into public.jobs(job_type, status) values ($1, $2)"
FIVE = [
    ("Alpha", "queued"),
    ("beta", "running"),
    ("gamma,delta", "queued"),
    ("a(b)", "done"),
    (None, "queued"),
]
# The recorded server was cold: it had said that it heard, and its first rows were lost.
COLD = "realtime:f0"


@asynccontextmanager
async def client_of(server: Any, http: aiohttp.ClientSession) -> AsyncIterator[Reader]:
    url = f"{server.url}/realtime/v1/websocket?apikey={server.token()}&vsn=1.0.0"
    async with http.ws_connect(url) as socket, asyncio.TaskGroup() as tasks:
        reader = Reader(socket)
        tasks.create_task(reader.run())
        yield reader
        await socket.close()


async def play(name: str, reader: Reader, after: Statements) -> None:
    """Send and expect what was recorded; have statements done after each line."""
    tokens = Tokens()
    for line in (TRANSCRIPTS / "reconstructed" / f"{name}.jsonl").read_text().splitlines():
        entry = json.loads(line)
        match entry["dir"]:
            case "send":
                await reader.socket.send_str(json.dumps(tokens.put(entry["frame"])))
            case "recv":
                compare(entry["frame"], await reader.next(topic_of(entry["frame"])))
        await after(entry)
    assert reader.unread() == []


async def test_changes_come_in_the_order_of_commits(
    serve: Serve, http: aiohttp.ClientSession, database: Database, realtime_dsn: str
) -> None:
    """Nothing of what was rolled back, a transaction as one, and late ones late."""
    other = await asyncpg.connect(realtime_dsn)

    async def statements(entry: dict[str, Any]) -> None:
        match entry["frame"]:
            case "rolled back":
                transaction = database.transaction()
                await transaction.start()
                await database.execute(INSERT, "rolled back", "queued")
                await transaction.rollback()
            case "insert, update, delete in one transaction":
                async with database.transaction():
                    await database.execute(INSERT, "iud", "queued")
                    await database.execute("update public.jobs set status = 'running'")
                    await database.execute("delete from public.jobs")
            case "T1 inserts first but commits last":
                async with other.transaction():
                    await other.execute(INSERT, "T1", "queued")
                    await database.execute(INSERT, "T2", "queued")

    async with client_of(await serve(), http) as reader:
        await play("h03_rollback_and_order", reader, statements)
    await other.close()


async def test_filters(serve: Serve, http: aiohttp.ClientSession, database: Database) -> None:
    """Each operator lets the same of five rows through, or is refused in the same words."""

    async def statements(entry: dict[str, Any]) -> None:
        match entry["frame"]:
            case {"event": "system", "payload": {"status": "ok"}, "topic": topic}:
                if topic != COLD:
                    await database.executemany(INSERT, FIVE)
                    await read_past(database)

    async with client_of(await serve(), http) as reader:
        await play("o02_new_filters", reader, statements)
