"""A project as a daemon and its users meet it: bare PostgreSQL, or everything that Supabase offers.

Both are the same to the tests: users insert, read and cancel rows with their own rights only.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid4

import asyncpg
import httpx
from eventually import PATIENCE_S, eventually
from jobs_database import JobsDatabase, opened
from supabase import AsyncClient, AsyncClientOptions, create_async_client

from devstack.stack import Stack

FINISHED = frozenset({"completed", "failed", "cancelled"})


class User(Protocol):
    """A signed-in user of a frontend, held to row level security."""

    id: UUID

    async def insert(self, job_type: str, metadata: Any, **columns: Any) -> UUID:
        """Insert a row for himself; raises what the client raises."""
        ...

    async def read(self, job_id: UUID) -> dict[str, Any]:
        """Return his row."""
        ...

    async def cancel(self, job_id: UUID) -> None:
        """Set the row's status, as frontends do."""
        ...

    async def cancel_by_rpc(self, job_id: UUID) -> None:
        """Call `cancel_job`."""
        ...

    async def download(self, artifact: Mapping[str, Any]) -> tuple[bytes, str]:
        """Return a result file and its content type."""
        ...


@dataclass
class Project:
    """A migrated database, what a daemon needs to reach it, and who may know which secret."""

    name: str
    database: JobsDatabase
    environment: dict[str, str]
    secrets: list[str]
    _users: AsyncExitStack
    stack: Stack | None = None
    files: Path | None = None

    async def user(self) -> User:
        """Sign somebody in."""
        if self.stack is not None:
            return await self._users.enter_async_context(_supabase_user(self.stack))
        assert self.files is not None
        return await self._users.enter_async_context(_direct_user(self.database, self.files))

    async def insert(self, job_type: str = "chat", **fake: Any) -> UUID:
        """Insert a job of the fake model as the backend does; `fake` says how its run goes."""
        metadata = {"prompt": "a lake", "width": 64, "height": 64, "fake": fake}
        return await self.database.insert(job_type, metadata=metadata)

    async def status(self, job_id: UUID) -> str:
        """Return a job's status."""
        return str((await self.database.row(job_id))["status"])

    async def until(
        self, job_id: UUID, *statuses: str, within_s: float = PATIENCE_S
    ) -> asyncpg.Record:
        """Return the row when its status is one of these."""

        async def there() -> asyncpg.Record | None:
            row = await self.database.row(job_id)
            if row["status"] in FINISHED and row["status"] not in statuses:
                raise AssertionError(f"{dict(row)} instead of {statuses}")
            return row if row["status"] in statuses else None

        found = await eventually(there, within_s, what=f"job is {' or '.join(statuses)}")
        assert found is not None
        return found

    async def until_running(
        self, job_id: UUID, attempt: int = 1, within_s: float = PATIENCE_S
    ) -> asyncpg.Record:
        """Return the row when the engine of that attempt has told of a step."""

        async def runs() -> asyncpg.Record | None:
            row = await self.database.row(job_id)
            runs = row["progress"] > 0 and row["status"] == "processing"
            return row if runs and row["attempts"] == attempt else None

        found = await eventually(runs, within_s, what="the job runs")
        assert found is not None
        return found

    async def reconnect(self) -> None:
        """Look at the database again after its server was restarted."""
        await self.database.owner.close()
        self.database.owner = await asyncpg.connect(self.database.dsn)

    async def assert_nothing_held(self) -> None:
        """No row is processing, no run is open, and no hint is held back by a lock."""
        held = await self.database.owner.fetch(
            "select id, status from jobs where status = 'processing' "
            "union all select job_id, 'open run' from job_runs where ended_at is null"
        )
        assert [dict(row) for row in held] == []


@dataclass
class _DirectUser:
    connection: "asyncpg.Connection[Any]"
    files: Path
    id: UUID

    async def insert(self, job_type: str, metadata: Any, **columns: Any) -> UUID:
        values = {"user_id": self.id, "job_type": job_type} | columns
        values["metadata"] = metadata if isinstance(metadata, str) else json.dumps(metadata)
        places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
        found = await self.connection.fetchval(
            f"insert into jobs ({', '.join(values)}) values ({places}) returning id",
            *values.values(),
        )
        return UUID(str(found))

    async def read(self, job_id: UUID) -> dict[str, Any]:
        row = await self.connection.fetchrow("select * from jobs where id = $1", job_id)
        assert row is not None
        read = dict(row)
        read["result"] = read["result"] and json.loads(read["result"])
        return read

    async def cancel(self, job_id: UUID) -> None:
        await self.connection.execute("update jobs set status = 'cancelled' where id = $1", job_id)

    async def cancel_by_rpc(self, job_id: UUID) -> None:
        await self.connection.fetchval("select cancel_job($1)", job_id)

    async def download(self, artifact: Mapping[str, Any]) -> tuple[bytes, str]:
        path = Path(unquote(urlsplit(artifact["url"]).path))
        assert path == self.files / artifact["bucket"] / artifact["path"]
        return await asyncio.to_thread(path.read_bytes), artifact["content_type"]


@dataclass
class _SupabaseUser:
    client: AsyncClient
    id: UUID

    async def insert(self, job_type: str, metadata: Any, **columns: Any) -> UUID:
        row = {"user_id": str(self.id), "job_type": job_type, "metadata": metadata, **columns}
        answer = await self.client.table("jobs").insert(row).execute()
        return UUID(answer.data[0]["id"])

    async def read(self, job_id: UUID) -> dict[str, Any]:
        answer = await self.client.table("jobs").select("*").eq("id", str(job_id)).execute()
        row: dict[str, Any] = answer.data[0]
        return row

    async def cancel(self, job_id: UUID) -> None:
        change = self.client.table("jobs").update({"status": "cancelled"})
        await change.eq("id", str(job_id)).execute()

    async def cancel_by_rpc(self, job_id: UUID) -> None:
        await self.client.rpc("cancel_job", {"p_job_id": str(job_id)}).execute()

    async def download(self, artifact: Mapping[str, Any]) -> tuple[bytes, str]:
        bucket = self.client.storage.from_(artifact["bucket"])
        data = await bucket.download(artifact["path"])
        async with httpx.AsyncClient() as browser:
            response = await browser.get(artifact["url"])
        assert response.content == data
        return data, response.headers["content-type"]


@asynccontextmanager
async def _direct_user(database: JobsDatabase, files: Path) -> AsyncIterator[User]:
    user = uuid4()
    async with database.session("authenticated", user) as connection:
        yield _DirectUser(connection, files, user)


@asynccontextmanager
async def _supabase_user(stack: Stack) -> AsyncIterator[User]:
    user = uuid4()
    # Without a client of ours the library passes on options that httpx has deprecated.
    async with httpx.AsyncClient() as connections:
        headers = {"Authorization": f"Bearer {stack.token(user)}"}
        options = AsyncClientOptions(httpx_client=connections, headers=headers)
        client = await create_async_client(stack.url, stack.anon_key, options)
        yield _SupabaseUser(client, user)
        await client.realtime.close()


@dataclass
class DirectServer:
    """A PostgreSQL server whose databases come ready-made from a template."""

    dsn: str
    template: str
    worker: str
    """A login that has the worker's rights and no other."""
    _made: int = field(default=0)

    @asynccontextmanager
    async def project(self, files: Path) -> AsyncIterator[Project]:
        """Make a project of its own."""
        self._made += 1
        name = f"project_{self._made}"
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(f"create database {name} template {self.template}")
        finally:
            await connection.close()
        owner, worker = _with_database(self.dsn, name), _with_database(self.worker, name)
        async with direct_project(owner, worker, files) as project:
            yield project


@asynccontextmanager
async def direct_project(owner: str, worker: str, files: Path) -> AsyncIterator[Project]:
    """Use a migrated database; the daemon reaches it by DSN and LISTEN, its files in a folder."""
    environment = {
        "DATABASE_URL": worker,
        "OURVIDZ_ARTIFACTS__KIND": "local",
        "OURVIDZ_ARTIFACTS__FOLDER": str(files),
    }
    secrets = [str(urlsplit(worker).password)]
    async with opened(owner) as database, AsyncExitStack() as users:
        yield Project("direct", database, environment, secrets, users, files=files)


@asynccontextmanager
async def supabase_project(stack: Stack) -> AsyncIterator[Project]:
    """Use the stack's one project, emptied; reached by URL and key, REST, Realtime and Storage."""
    environment = {
        "SUPABASE_URL": stack.url,
        "SUPABASE_KEY": stack.anon_key,
        "SUPABASE_WORKER_TOKEN": stack.worker_token,
    }
    secrets = [stack.worker_token, stack.service_role_key, stack.anon_key, stack.jwt_secret]
    async with opened(stack.dsn) as database, AsyncExitStack() as users:
        await database.owner.execute("truncate jobs, job_runs")
        yield Project("supabase", database, environment, secrets, users, stack=stack)


def _with_database(dsn: str, name: str) -> str:
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()
