"""What the database says about tables, columns, types and roles."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg
from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

Database: TypeAlias = "PoolConnectionProxy[Record]"
# Schema and name of each published table, by its object id.
Published: TypeAlias = Mapping[int, tuple[str, str]]
# What is raised when the server has gone, is going or isn't there yet.
UNREACHABLE = (
    OSError,
    asyncpg.InterfaceError,
    # A connection that was ended in the middle of a statement may say only this.
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
)

_TABLE = """
select
    format('%I.%I', n.nspname, c.relname) as name,
    c.relrowsecurity as row_security,
    coalesce(
        (select conkey from pg_constraint where conrelid = c.oid and contype = 'p'), '{}'
    ) as primary_key
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.oid = $1
"""
_COLUMNS = """
select
    a.attnum,
    a.attname,
    t.typname,
    array(
        select role from unnest($2::text[]) as role
        where has_column_privilege(role, a.attrelid, a.attnum, 'SELECT')
    ) as readers
from pg_attribute a join pg_type t on t.oid = a.atttypid
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""
_TYPES = """
select t.oid, t.typname, format('%I.%I', n.nspname, t.typname) as sql_name
from pg_type t join pg_namespace n on n.oid = t.typnamespace
where t.oid = any($1::oid[])
"""
_PUBLISHED = """
select format('%I.%I', schemaname, tablename)::regclass::oid as oid, schemaname, tablename
from pg_publication_tables where pubname = $1
"""


@dataclass(frozen=True)
class TableColumn:
    """A column as it is now, and the roles that may read it."""

    name: str
    type: str
    readers: frozenset[str]


@dataclass(frozen=True)
class Table:
    """A table as it is now.

    Attributes:
        name: Quoted, for SQL.
        row_security: Whether row level security is enabled.
        primary_key: The names of its columns.
    """

    name: str
    row_security: bool
    primary_key: tuple[str, ...]
    columns: tuple[TableColumn, ...]

    def readable(self, role: str) -> frozenset[str]:
        """Return the columns that a role may select."""
        return frozenset(column.name for column in self.columns if role in column.readers)


@dataclass(frozen=True)
class Type:
    """A column's type: its plain name, and the one that SQL finds on any search path."""

    name: str
    sql_name: str


async def find_table(database: Database, oid: int, roles: Sequence[str]) -> Table | None:
    """Look a table up; None when it is gone."""
    table = await database.fetchrow(_TABLE, oid)
    if table is None:
        return None
    rows = await database.fetch(_COLUMNS, oid, roles)
    names = {row["attnum"]: row["attname"] for row in rows}
    return Table(
        name=table["name"],
        row_security=table["row_security"],
        primary_key=tuple(names[number] for number in table["primary_key"]),
        columns=tuple(
            TableColumn(row["attname"], row["typname"], frozenset(row["readers"])) for row in rows
        ),
    )


async def find_types(database: Database, oids: Iterable[int]) -> Mapping[int, Type]:
    """Look types up by their object ids."""
    rows = await database.fetch(_TYPES, list(set(oids)))
    return {row["oid"]: Type(row["typname"], row["sql_name"]) for row in rows}


async def published_tables(database: Database, publication: str) -> Published:
    """Return schema and name of each table in a publication, by its object id."""
    rows = await database.fetch(_PUBLISHED, publication)
    return {row["oid"]: (row["schemaname"], row["tablename"]) for row in rows}
