"""Ask the database which rows a subscriber may select, by becoming the subscriber."""

from collections.abc import Mapping
from dataclasses import dataclass

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
        return Visible(await _select(database, table, key_types, keys, who), frozenset())
    except UNREACHABLE:
        raise
    except asyncpg.PostgresError:
        if len(keys) == 1:
            return Visible(frozenset(), frozenset(keys))
    # One row's error must not hide the others: halve until it stands alone.
    positions = list(keys)
    rows: set[int] = set()
    failed: set[int] = set()
    for half in (positions[: len(keys) // 2], positions[len(keys) // 2 :]):
        part = {position: keys[position] for position in half}
        answer = await visible_rows(database, table, key_types, part, who)
        rows |= answer.rows
        failed |= answer.failed
    return Visible(frozenset(rows), frozenset(failed))


async def _select(
    database: Database,
    table: str,
    key_types: Mapping[str, Type],
    keys: Mapping[int, Key],
    who: Identity,
) -> frozenset[int]:
    numbers = range(2, len(key_types) + 2)
    arrays = ", ".join(f"${number}::text[]" for number in numbers)
    names = ", ".join(f"v{number}" for number in numbers)
    matches = " and ".join(
        f"stored.{quote(column)} = asked.v{number}::{type_.sql_name}"
        for number, (column, type_) in zip(numbers, key_types.items(), strict=True)
    )
    query = f"""
        select asked.position
        from unnest($1::integer[], {arrays}) as asked(position, {names})
        where exists (select 1 from {table} stored where {matches})
    """
    async with database.transaction():
        await database.execute(_BECOME, who.role, who.claims)
        parts = (list(part) for part in zip(*keys.values(), strict=True))
        rows = await database.fetch(query, list(keys), *parts)
    return frozenset(row["position"] for row in rows)
