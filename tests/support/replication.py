"""What tests of Realtime see of its replication slot."""

import asyncio
from typing import Any

import asyncpg

DEADLINE_S = 60.0
# A mark in the log, flushed with its commit. The log's end won't do: what the server writes for
# itself may stay unflushed, thus unread, for many seconds, and at the end of a page the place of
# the next record is behind a header that nobody reads until there is a record.
_MARK = "select pg_logical_emit_message(true, 'tests', '')"
_BEHIND = """
select bool_or(confirmed_flush_lsn < $1) from pg_replication_slots
where database = current_database()
"""
_MADE = """
select slot_name from pg_replication_slots
where database = current_database() and confirmed_flush_lsn is not null
"""


async def read_past(database: "asyncpg.Connection[Any]") -> None:
    """Wait until what was committed has been read, and delivered or lost."""
    # The server reads on when it has dealt with what it read before: the row is past when it has
    # read what came after it.
    await caught_up(database)
    await database.execute("insert into public.marker default values")
    await caught_up(database)


async def slot_made(database: "asyncpg.Connection[Any]", but: str | None = None) -> str:
    """Wait until there is a slot, or another one than before; return its name."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            name: str | None = await database.fetchval(_MADE)
            if name is not None and name != but:
                return name
            await asyncio.sleep(0)


async def caught_up(database: "asyncpg.Connection[Any]") -> None:
    """Wait until the slot has been read beyond everything that was committed before."""
    async with asyncio.timeout(DEADLINE_S):
        mark = await database.fetchval(_MARK)
        while await database.fetchval(_BEHIND, mark):
            await asyncio.sleep(0)
