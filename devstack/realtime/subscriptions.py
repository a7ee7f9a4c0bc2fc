"""Subscriptions to tables: made when the database agrees, refused in the real server's words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg
import msgspec

from devstack.realtime.bindings import Binding
from devstack.realtime.catalog import (
    UNREACHABLE,
    Database,
    Published,
    find_table,
    find_types,
)
from devstack.realtime.filters import Filter
from devstack.realtime.pgoutput import Action
from devstack.realtime.rows import comparison
from devstack.realtime.tokens import Credentials
from devstack.realtime.visibility import Identity

_UNABLE = "Unable to subscribe to changes with given parameters."
_MAX_IN_VALUES = 100
_IS_KEYWORDS = ("null", "true", "false", "unknown")
_COLUMN_TYPES = """
select a.attname, a.atttypid from pg_attribute a
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
"""


class SubscriptionError(Exception):
    """The database can't serve a binding; the message is the server's."""


class Listener(Protocol):
    """Who gets the changes: a channel."""

    def deliver(self, change: msgspec.Raw, action: Action, binding_ids: Sequence[int]) -> None:
        """Send one change for these bindings."""

    def subscribed(self) -> None:
        """Learn that the subscriptions were made anew."""

    def refused(self, reason: str) -> None:
        """Learn that they couldn't be."""


@dataclass(frozen=True)
class Subscription:
    """A binding in force."""

    listener: Listener
    binding: Binding
    who: Identity
    tables: frozenset[int]

    def wants(self, table: int, action: Action) -> bool:
        """Whether a kind of change is asked for at all."""
        return table in self.tables and self.binding.event in (None, action)


def identity_of(credentials: Credentials) -> Identity:
    """Return whose eyes a subscription sees with."""
    return Identity(credentials.role, msgspec.json.encode(credentials.claims).decode())


async def subscribe(
    database: Database,
    published: Published,
    listener: Listener,
    bindings: Sequence[Binding],
    credentials: Credentials,
) -> list[Subscription]:
    """Check bindings and make their subscriptions: all or none.

    Args:
        database: A superuser's connection.
        published: Schema and name of each table in the publication, by its object id.
        listener: Who gets the changes.
        bindings: What for.
        credentials: With whose eyes.

    Raises:
        SubscriptionError: One of them can't be served.
    """
    who = identity_of(credentials)
    made = []
    for binding in bindings:
        tables = frozenset(oid for oid, name in published.items() if _matches(binding, *name))
        if not tables:
            raise SubscriptionError(
                f"{_UNABLE} Please check Realtime is enabled for the given connect parameters: "
                f"{binding}"
            )
        try:
            await _check(database, binding, tables, who.role)
        except UNREACHABLE:
            raise
        except (asyncpg.PostgresError, _RaisedError) as error:
            raise SubscriptionError(
                f"{_UNABLE} An exception happened so please check your connect parameters: "
                f"{binding}. Exception: {_describe(error)}"
            ) from error
        made.append(Subscription(listener, binding, who, tables))
    return made


def _matches(binding: Binding, schema: str, table: str) -> bool:
    return binding.schema in ("*", schema) and binding.table in ("*", table)


class _RaisedError(Exception):
    """What the real server's own check raises in SQL."""


async def _check(database: Database, binding: Binding, tables: frozenset[int], role: str) -> None:
    # Names the role that is missing; sb_ keys and tokens may carry any.
    await database.fetchval("select quote_ident($1)::regrole", role)
    if not binding.filters and binding.select is None:
        return
    for oid in tables:
        table = await find_table(database, oid, [role])
        readable = table.readable(role) if table else frozenset()
        types = {
            row["attname"]: row["atttypid"] for row in await database.fetch(_COLUMN_TYPES, oid)
        }
        for item in binding.filters:
            if item.column not in readable:
                raise _RaisedError(f"invalid column for filter {item.column}")
            await _check_filter(database, item, types)
        for column in binding.select or ():
            if column not in readable:
                raise _RaisedError(f"invalid column for select {column}")


async def _check_filter(database: Database, item: Filter, types: Mapping[str, Any]) -> None:
    oid = types[item.column]
    type_ = (await find_types(database, [oid]))[oid]
    if item.operator == "is":
        if item.value not in _IS_KEYWORDS:
            raise _RaisedError("invalid value for is filter: must be null, true, false, or unknown")
        if item.value != "null" and type_.name != "bool":
            raise _RaisedError(
                f"is {item.value} filter requires a boolean column, got {type_.name}"
            )
        return
    if item.operator == "in":
        count = await database.fetchval(
            f"select cardinality($1::text::{type_.sql_name}[])", item.value
        )
        if count > _MAX_IN_VALUES:
            raise _RaisedError("too many values for `in` filter. Maximum 100")
    else:
        await database.fetchval(f"select ($1::text::{type_.sql_name})::text", item.value)
    # PostgreSQL says now, not when a change comes, that the type lacks an operator.
    test = comparison(f"null::{type_.sql_name}", type_.sql_name, item, 1)
    await database.fetchval(f"select {test}", item.value)
    if item.operator in ("match", "imatch"):
        await database.fetchval("select '' ~ $1", item.value)


def _describe(error: Exception) -> str:
    if not isinstance(error, asyncpg.PostgresError):
        return f"ERROR P0001 (raise_exception) {error}"
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__.removesuffix("Error")).lower()
    return f"ERROR {error.sqlstate} ({words}) {error.message}"
