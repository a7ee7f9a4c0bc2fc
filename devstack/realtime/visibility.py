"""Ask the database which rows a subscriber may select, by becoming the subscriber."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from devstack.realtime.catalog import UNREACHABLE, Database, Type
from devstack.realtime.rows import quote

_BECOME = """
select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)
"""
Key = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """Those who see the same rows: a role and its claims, as JSON."""

    role: str
    claims: str


@dataclass(frozen=True, slots=True)
class Visible:
    """An answer, by position of the asked keys.

    Attributes:
        rows: May be selected.
        failed: A policy raised an error.
    """

    rows: frozenset[int]
    failed: frozenset[int]


async def visible_rows(
    database: Database,
    table: str,
    key_types: Mapping[str, Type],
    keys: Mapping[int, Key],
    who: Identity,
) -> Visible:
    """Check many rows at once against row level security as it is now.

    Args:
        database: A superuser's connection.
        table: The quoted table.
        key_types: Type of each primary key column, in the order of the keys' parts.
        keys: Primary key of each row, by its position.
        who: The subscriber.
    """
    try:
        rows = await _ask(database, _many(table, key_types), _columns(keys), who)
        return Visible(rows, frozenset())
    except UNREACHABLE:
        raise
    except asyncpg.PostgresError:
        return await _one_by_one(database, _one(table, key_types), keys, who)


async def _one_by_one(
    database: Database, query: str, keys: Mapping[int, Key], who: Identity
) -> Visible:
    """Find out which rows the policy fails for.

    The query for many may have shown it rows that nobody asked for.
    """
    rows: set[int] = set()
    failed: set[int] = set()
    for position, key in keys.items():
        try:
            rows |= await _ask(database, query, [position, *key], who)
        except UNREACHABLE:
            raise
        except asyncpg.PostgresError:
            failed.add(position)
    return Visible(frozenset(rows), frozenset(failed))


async def _ask(
    database: Database, query: str, arguments: Sequence[Any], who: Identity
) -> frozenset[int]:
    async with database.transaction():
        await database.execute(_BECOME, who.role, who.claims)
        rows = await database.fetch(query, *arguments)
    return frozenset(row["position"] for row in rows)


def _many(table: str, key_types: Mapping[str, Type]) -> str:
    numbers = range(2, len(key_types) + 2)
    arrays = ", ".join(f"${number}::text[]" for number in numbers)
    names = ", ".join(f"v{number}" for number in numbers)
    matches = " and ".join(
        f"stored.{quote(column)} = asked.v{number}::{type_.sql_name}"
        for number, (column, type_) in zip(numbers, key_types.items(), strict=True)
    )
    return f"""
        select asked.position
        from unnest($1::integer[], {arrays}) as asked(position, {names})
        where exists (select 1 from {table} stored where {matches})
    """


def _one(table: str, key_types: Mapping[str, Type]) -> str:
    # The key is a constant, so that PostgreSQL looks at it before the policy.
    matches = " and ".join(
        f"stored.{quote(column)} = ${number}::text::{type_.sql_name}"
        for number, (column, type_) in enumerate(key_types.items(), 2)
    )
    return f"""
        select $1::integer as position where exists (select 1 from {table} stored where {matches})
    """


def _columns(keys: Mapping[int, Key]) -> list[list[Any]]:
    return [list(keys), *(list(part) for part in zip(*keys.values(), strict=True))]
