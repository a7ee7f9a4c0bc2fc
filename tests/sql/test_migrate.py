"""Migrations on an empty database and a Supabase project: once, in order, and never edited."""

import asyncio
import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from jobs_database import CreateDatabase

from daemon.job_types import JOB_TYPES
from daemon.jobs import Status
from daemon.migrate import SCHEMA_VERSION, migrate, migrations, pending
from daemon.values import SchemaMismatchError
from devstack.postgres import Postgres

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONGEST_FILE = 150


def silent(line: str) -> None:
    """Take a line and say nothing."""


async def fetchval(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_files_are_numbered_without_gaps_and_small() -> None:
    """A gap or a double number would apply differently on another host."""
    assert [migration.version for migration in migrations()] == list(range(1, SCHEMA_VERSION + 1))
    assert [m.name for m in migrations() if m.sql.count("\n") > LONGEST_FILE] == []


async def test_bare_server_gets_everything(tmp_path: Path) -> None:
    """Without Supabase's roles and schemas: what is missing is made."""
    async with Postgres(tmp_path, supabase=False) as server:
        lines: list[str] = []
        done = await migrate(server.dsn, report=lines.append)

        assert done == [migration.name for migration in migrations()]
        assert [line for line in lines if line.startswith("applied")] == [
            f"applied {name}" for name in done
        ]
        assert await fetchval(server.dsn, "select ourvidz_schema_version()") == SCHEMA_VERSION
        assert await fetchval(server.dsn, "select auth.uid()") is None
        assert await fetchval(
            server.dsn,
            "select bool_and(not rolcanlogin) from pg_roles where rolname in "
            "('anon', 'authenticated', 'service_role', 'ourvidz_worker') having count(*) = 4",
        )
        # Another database of the same server finds the roles made.
        await migrate(await server.create_database("second"), report=silent)


async def test_supabase_project_gets_publication_buckets_and_role(server: Postgres) -> None:
    """What is there is used: the publication, the storage schema, the authenticator."""
    await migrate(server.dsn, report=silent)

    published = (
        "select array_agg(tablename::text order by tablename) from pg_publication_tables "
        "where pubname = '{}'"
    )
    buckets = "select array_agg(id order by id) from storage.buckets where not public"
    assert await fetchval(server.dsn, published.format("supabase_realtime")) == [
        "jobs",
        "ourvidz_canary",
    ]
    assert await fetchval(server.dsn, buckets) == [
        "ourvidz-images",
        "ourvidz-thumbnails",
        "ourvidz-videos",
    ]
    assert await fetchval(
        server.dsn, "select pg_has_role('authenticator', 'ourvidz_worker', 'member')"
    )


async def test_owner_needs_no_superuser(create_database: CreateDatabase) -> None:
    """A hosted project's `postgres` is none: it owns the database and may create roles."""
    dsn = await create_database()
    name = f"owner_{uuid4().hex[:8]}"
    await fetchval(dsn, f"create role {name} login createrole bypassrls password 'secret'")
    database = urlsplit(dsn).path.removeprefix("/")
    await fetchval(dsn, f'alter database "{database}" owner to {name}')
    await fetchval(dsn, f"alter schema public owner to {name}")
    await fetchval(dsn, f"grant ourvidz_worker to {name} with admin option")
    owner = urlunsplit(
        urlsplit(dsn)._replace(netloc=f"{name}:secret@{urlsplit(dsn).netloc.split('@')[1]}")
    )
    lines: list[str] = []

    await migrate(owner, report=lines.append)

    assert [line for line in lines if not line.startswith("applied")] == []
    assert await fetchval(owner, "select (enqueue_job('chat', '{}')).status") == "queued"
    worker = await asyncpg.connect(owner)
    await worker.execute("set role ourvidz_worker")
    [claim] = await worker.fetch(
        "select * from claim_jobs('w', $1, $1, $2, 12)",
        uuid4(),
        '[{"job_types": ["chat"], "count": 1}]',
    )
    await worker.close()
    assert claim["job_type"] == "chat"


async def test_second_run_applies_nothing(create_database: CreateDatabase) -> None:
    """An upgrade may be started as often as one likes."""
    dsn = await create_database()

    assert len(await migrate(dsn, report=silent)) == len(migrations())
    assert await migrate(dsn, report=silent) == []


async def test_two_hosts_at_once_apply_each_file_once(create_database: CreateDatabase) -> None:
    """One waits for the other and then finds nothing to do."""
    dsn = await create_database()

    done = await asyncio.gather(*(migrate(dsn, report=silent) for _ in range(3)))

    assert sorted(len(names) for names in done) == [0, 0, len(migrations())]


async def test_interrupted_upgrade_goes_on(
    create_database: CreateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that fails leaves no trace; those before it stay."""
    dsn = await create_database()
    half = migrations()[:10]
    broken = type(half[0])(11, "0011_broken", "create table left_over (); select 1/0")
    monkeypatch.setattr("daemon.migrate.migrations", lambda: (*half, broken))
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(dsn, report=silent)
    monkeypatch.undo()

    assert await fetchval(dsn, "select to_regclass('left_over')") is None
    assert len(await migrate(dsn, report=silent)) == len(migrations()) - 10


async def test_edited_file_is_refused(create_database: CreateDatabase) -> None:
    """Nobody can say what a database has whose migrations were rewritten."""
    dsn = await create_database()
    await migrate(dsn, report=silent)
    await fetchval(dsn, "update ourvidz_migrations set checksum = 'other' where version = 3")

    with pytest.raises(SchemaMismatchError, match="0003_clock was applied from another text"):
        await migrate(dsn, report=silent)


async def test_newer_database_is_refused(create_database: CreateDatabase) -> None:
    """An old package must not work on what it doesn't know."""
    dsn = await create_database()
    await migrate(dsn, report=silent)
    await fetchval(
        dsn, f"insert into ourvidz_migrations values ({SCHEMA_VERSION + 1}, 'later', '')"
    )
    connection = await asyncpg.connect(dsn)

    with pytest.raises(SchemaMismatchError, match="install the newer ourvidz-worker"):
        await pending(connection)
    await connection.close()


async def test_sql_and_python_know_the_same_words(migrated: str) -> None:
    """Job types and statuses stand in both; neither may drift."""
    assert await fetchval(migrated, "select known_job_types()") == list(JOB_TYPES)
    check = await fetchval(
        migrated,
        "select pg_get_constraintdef(oid) from pg_constraint where conname = 'jobs_status_check'",
    )
    assert set(re.findall(r"'(\w+)'", str(check))) == set(Status)
