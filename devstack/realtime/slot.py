"""A temporary logical replication slot, read by polling as the real server reads its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg

from devstack.realtime.pgoutput import Message, decode

_READ = """
select data from pg_logical_slot_get_binary_changes(
    $1, null, $2, 'proto_version', '1', 'publication_names', $3
)
"""
# Values are read as text; this is how PostgreSQL shall write them.
SESSION = {
    # The real server's names for its connections: who looks for them or ends them by name can do
    # the same here. This one is for everything but the slot, which has its own.
    "application_name": "realtime_subscription_manager",
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "statement_timeout": "0",
    "lock_timeout": "0",
}


class ReplicationSlot:
    """Reads each committed change once. What is read and then lost is lost."""

    def __init__(self, database: "asyncpg.Connection[asyncpg.Record]", publication: str) -> None:
        self._database = database
        self._name = f"supabase_realtime_replication_slot_{uuid4().hex[:16]}"
        # A list of quoted identifiers.
        self._publication = '"' + publication.replace('"', '""') + '"'

    async def create(self) -> None:
        """Create it; changes committed from now on are kept for it."""
        await self._database.execute(
            "select pg_create_logical_replication_slot($1, 'pgoutput', true)", self._name
        )

    async def read(self, max_changes: int) -> list[Message]:
        """Take the changes that have gathered, at least one transaction if there is one."""
        rows = await self._database.fetch(_READ, self._name, max_changes, self._publication)
        return [decode(row["data"]) for row in rows]


@asynccontextmanager
async def replication_slot(dsn: str, publication: str) -> AsyncIterator[ReplicationSlot]:
    """Open a slot on a connection of its own; it goes with the connection."""
    session = {**SESSION, "application_name": "realtime_rls"}
    database = await asyncpg.connect(dsn, server_settings=session)
    try:
        slot = ReplicationSlot(database, publication)
        await slot.create()
        yield slot
    finally:
        # Not close(): a server that went away would make it wait.
        database.terminate()
