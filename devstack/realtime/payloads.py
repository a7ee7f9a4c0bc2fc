"""Compose what a subscriber is told about a change.

Pure. Who may see how much is decided here from facts that were looked up before.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from devstack.realtime.catalog import Table
from devstack.realtime.log import LoggedChange
from devstack.realtime.pgoutput import Action, Relation
from devstack.realtime.rows import Row

NO_PRIMARY_KEY = "Error 400: Bad Request, no primary key"
UNAUTHORIZED = "Error 401: Unauthorized"
TOO_LARGE = "Error 413: Payload Too Large"
POLICY_FAILED = "Error 500: Internal Server Error, RLS policy evaluation failed"
_SMALL = 64
_COLUMN_OVERHEAD = 64


@dataclass(frozen=True, slots=True)
class Change:
    """A change with its rows in JSON.

    Attributes:
        new: The row after it, as far as the log has it.
        old: The row before it, as far as the log has it.
        too_large: It exceeds the limit of a message.
    """

    relation: Relation
    action: Action
    commit_time: datetime
    new: Row | None
    old: Row | None
    too_large: bool


def is_too_large(logged: LoggedChange, max_bytes: int) -> bool:
    """Whether a change exceeds the limit, in about the form that the real server measures."""
    size = 0
    for row in (logged.new, logged.old):
        if row is not None:
            size += _COLUMN_OVERHEAD * len(row.present)
            size += sum(len(value.encode()) for value in row.values if isinstance(value, str))
    return size > max_bytes


def refusal(table: Table, action: Action, role: str) -> str | None:
    """Return why a role is told of a change, but not what changed."""
    if action is Action.DELETE:
        return None
    if not table.primary_key:
        return NO_PRIMARY_KEY
    return None if table.readable(role).issuperset(table.primary_key) else UNAUTHORIZED


def refused_payload(change: Change, error: str) -> dict[str, Any]:
    """Compose the message that only says that something changed."""
    payload = _head(change, [error]) | {"columns": [], "commit_timestamp": None}
    if change.action is not Action.DELETE:
        payload["record"] = {}
    if change.action is not Action.INSERT:
        payload["old_record"] = {}
    return payload


def full_payload(
    change: Change, table: Table, role: str, select: tuple[str, ...] | None
) -> dict[str, Any]:
    """Compose the message with the columns that a role may read and a binding selects."""
    wanted = table.readable(role)
    if select is not None:
        wanted &= {*select, *table.primary_key}
    payload = _head(change, [TOO_LARGE] if change.too_large else None) | {
        "columns": [
            {"name": column.name, "type": column.type}
            for column in table.columns
            if column.name in wanted
        ],
        "commit_timestamp": f"{change.commit_time:%Y-%m-%dT%H:%M:%S}"
        f".{change.commit_time.microsecond // 1000:03}Z",
    }
    old = {} if change.old is None else dict(change.old.values)
    if change.new is not None:
        # A large value that wasn't touched is only in the old row, if anywhere.
        untouched = {name: value for name, value in old.items() if name not in change.new.values}
        payload["record"] = _fields(change, {**change.new.values, **untouched}, wanted)
    if change.action is Action.DELETE and table.row_security:
        # Nobody can be asked any more who may see the rest.
        wanted &= set(table.primary_key)
    if change.action is not Action.INSERT:
        payload["old_record"] = _fields(change, old, wanted)
    return payload


def _head(change: Change, errors: list[str] | None) -> dict[str, Any]:
    return {
        "schema": change.relation.schema,
        "table": change.relation.table,
        "type": change.action,
        "errors": errors,
    }


def _fields(
    change: Change, values: dict[str, msgspec.Raw], wanted: frozenset[str]
) -> dict[str, msgspec.Raw]:
    return {
        name: value
        for name, value in values.items()
        if name in wanted and not (change.too_large and len(bytes(value)) > _SMALL)
    }
