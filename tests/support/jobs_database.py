"""A migrated database seen from outside the store: what tests put into it and read from it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg

CreateDatabase = Callable[[], Awaitable[str]]
"""Makes an empty database and returns its connection string."""

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""What the database's clock says when a test starts; it stands still."""

ALICE = UUID(int=0xA)
BOB = UUID(int=0xB)


class JobsDatabase:
    """The database as its owner sees it.

    Args:
        dsn: the owner's connection string.
        connection: the owner's connection.
    """

    def __init__(self, dsn: str, connection: "asyncpg.Connection[Any]") -> None:
        self.dsn = dsn
        self.owner = connection
        self.now = NOON

    async def reset(self) -> None:
        """Empty the tables and set the clock back."""
        await self.owner.execute("truncate public.jobs, public.job_runs, ourvidz.charges")
        await self._set_clock(NOON)

    async def pass_time(self, seconds: float) -> None:
        """Move the clock for every session at once."""
        await self._set_clock(self.now + timedelta(seconds=seconds))

    async def _set_clock(self, now: datetime) -> None:
        self.now = now
        name = urlsplit(self.dsn).path.removeprefix("/")
        await self.owner.execute(f"alter database \"{name}\" set ourvidz.now = '{now.isoformat()}'")

    async def insert(self, job_type: str = "chat", **columns: Any) -> UUID:
        """Insert a row as the backend does and return its id."""
        values = {"job_type": job_type, "metadata": {"prompt": "a lake"}} | columns
        if isinstance(values["metadata"], dict | list):
            values["metadata"] = json.dumps(values["metadata"])
        names = ", ".join(values)
        places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
        found: UUID = await self.owner.fetchval(
            f"insert into public.jobs ({names}) values ({places}) returning id", *values.values()
        )
        return UUID(str(found))

    async def row(self, job_id: UUID) -> asyncpg.Record:
        """Return a row of jobs."""
        found = await self.owner.fetchrow("select * from public.jobs where id = $1", job_id)
        assert found is not None
        return found

    async def runs(self, job_id: UUID) -> list[asyncpg.Record]:
        """Return the runs of a job, oldest first."""
        return await self.owner.fetch(
            "select * from public.job_runs where job_id = $1 order by started_at, attempt", job_id
        )

    @asynccontextmanager
    async def session(
        self, role: str | None = None, user: UUID | None = None
    ) -> AsyncIterator["asyncpg.Connection[Any]"]:
        """Open a connection that acts as a role does, with a user's token if one is given."""
        connection = await asyncpg.connect(self.dsn)
        try:
            if user is not None:
                claims = json.dumps({"sub": str(user), "role": role})
                await connection.execute(
                    "select set_config('request.jwt.claims', $1, false)", claims
                )
            if role is not None:
                await connection.execute(f'set role "{role}"')
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[JobsDatabase]:
    """Hold the owner's connection to a migrated database."""
    connection = await asyncpg.connect(dsn)
    try:
        yield JobsDatabase(dsn, connection)
    finally:
        await connection.close()


async def worker_dsn(dsn: str) -> str:
    """Make a login that has the worker's rights and no other; return its connection string."""
    name = f"worker_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            f"create role {name} login password 'secret-of-worker' in role ourvidz_worker"
        )
    finally:
        await connection.close()
    parts = urlsplit(dsn)
    netloc = f"{name}:secret-of-worker@{parts.hostname}:{parts.port}"
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))
