"""Bring a database to this package's schema: numbered SQL files, applied once and in order.

The table `public.ourvidz_migrations` says what was applied, with each file's checksum. Migrations
only go forward. Two hosts may start at once: a session's advisory lock lets one wait for the other.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from daemon.values import SchemaMismatchError

if TYPE_CHECKING:
    # Reading SCHEMA_VERSION needs no driver: a daemon that works over REST loads none.
    from asyncpg import Connection

_FILE = re.compile(r"(\d{4})_\w+\.sql")
_LOCK = 0x6F757276
_HISTORY = """
create table if not exists public.ourvidz_migrations (
    version integer primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now()
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name, and what it does."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Return what tells this text from any other."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@cache
def migrations() -> tuple[Migration, ...]:
    """Return the package's migrations in order."""
    found = []
    for file in files("migrations").iterdir():
        if match := _FILE.fullmatch(file.name):
            sql = file.read_text(encoding="utf-8")
            found.append(Migration(int(match[1]), file.name.removesuffix(".sql"), sql))
    return tuple(sorted(found, key=lambda migration: migration.version))


SCHEMA_VERSION = migrations()[-1].version
"""The number of the last migration, which the database must have reached exactly."""


def mismatch(version: int | None) -> SchemaMismatchError | None:
    """Return what is wrong with a database of that schema version; None: nothing.

    Args:
        version: what `ourvidz_schema_version()` says, None where there is no such function.
    """
    if version is None:
        return SchemaMismatchError(
            "the database has no ourvidz-worker schema: run `ourvidz-worker migrate`"
        )
    if version < SCHEMA_VERSION:
        return SchemaMismatchError(
            f"the database is at schema {version}, this worker needs {SCHEMA_VERSION}: "
            "run `ourvidz-worker migrate`"
        )
    if version > SCHEMA_VERSION:
        return SchemaMismatchError(
            f"the database is at schema {version}, this worker knows {SCHEMA_VERSION}: "
            "install the newer ourvidz-worker"
        )
    return None


async def pending(conn: "Connection[Any]") -> list[Migration]:
    """Return what is yet to be applied, in order.

    Raises:
        SchemaMismatchError: an applied file was changed, or the database is newer than the package.
    """
    if await conn.fetchval("select to_regclass('public.ourvidz_migrations') is null"):
        return list(migrations())
    rows = await conn.fetch("select version, name, checksum from public.ourvidz_migrations")
    applied = {row["version"]: row for row in rows}
    newest = max(applied, default=0)
    if newest > SCHEMA_VERSION and (newer := mismatch(newest)):
        raise newer
    for migration in migrations():
        row = applied.get(migration.version)
        if row is not None and row["checksum"] != migration.checksum:
            raise SchemaMismatchError(
                f"migration {migration.name} was applied from another text (as {row['name']}): "
                "applied migrations are never edited, add a new one"
            )
    return [migration for migration in migrations() if migration.version not in applied]


async def migrate(dsn: str, *, report: Callable[[str], None]) -> list[str]:
    """Apply what is pending and return its names; nothing is pending when it is run again.

    Args:
        dsn: a direct or session-mode connection as the owner of the tables (not through a
            pooler in transaction mode: the lock belongs to a session).
        report: takes each line for people: what is applied, and what a migration had to change
            of somebody else's.
    """
    import asyncpg

    conn = await asyncpg.connect(dsn, command_timeout=600)
    try:
        conn.add_log_listener(lambda _, message: _pass_on(message, report))
        await _lock(conn)
        done = []
        for migration in await pending(conn):
            await _apply(conn, migration)
            report(f"applied {migration.name}")
            done.append(migration.name)
        if done:
            # The REST interface caches what functions there are.
            await conn.execute("notify pgrst, 'reload schema'")
        return done
    finally:
        await conn.close()


async def _lock(conn: "Connection[Any]") -> None:
    """Wait for another host that migrates; closing the connection gives the lock back."""
    await conn.execute("set statement_timeout = 0")
    await conn.execute("select pg_advisory_lock($1)", _LOCK)
    # Nobody's traffic shall queue for long behind a table's lock that we wait for.
    await conn.execute("set lock_timeout = '10s'")


async def _apply(conn: "Connection[Any]", migration: Migration) -> None:
    async with conn.transaction():
        await conn.execute(_HISTORY)
        await conn.execute(migration.sql)
        await conn.execute(
            "insert into public.ourvidz_migrations (version, name, checksum) values ($1, $2, $3)",
            migration.version,
            migration.name,
            migration.checksum,
        )


def _pass_on(message: Any, report: Callable[[str], None]) -> None:
    # Of the server's own notices ("already exists, skipping") none is news: the files ask for it.
    if message.sqlstate == "00000" or message.severity == "WARNING":
        report(f"{message.severity.lower()}: {message.message}")
