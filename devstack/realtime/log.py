"""Put the messages of the log together to changed rows. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from devstack.realtime.pgoutput import (
    Action,
    Begin,
    Message,
    Relation,
    RowChange,
    Tuple,
    Unchanged,
)


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """Values of the log, and the names of the columns that they are meaningful for."""

    values: Tuple
    present: frozenset[str]


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """A row change with what the messages around it say of it.

    Attributes:
        new: The row after it; None for a DELETE.
        old: What is known of the row before it; None for an INSERT.
    """

    relation: Relation
    action: Action
    commit_time: datetime
    new: LoggedRow | None
    old: LoggedRow | None


def logged_changes(messages: Iterable[Message]) -> list[LoggedChange]:
    """Read whole transactions; a TRUNCATE isn't told to anybody."""
    relations: dict[int, Relation] = {}
    begin: Begin | None = None
    changes = []
    for message in messages:
        match message:
            case Begin():
                begin = message
            case Relation():
                relations[message.oid] = message
            case RowChange() if begin is not None:
                changes.append(_logged(relations[message.relation_oid], message, begin))
    return changes


def _logged(relation: Relation, change: RowChange, begin: Begin) -> LoggedChange:
    new = None if change.new is None else _whole(relation, change.new)
    old = None
    if change.old is not None:
        old = (_key if change.old_is_key else _whole)(relation, change.old)
    elif change.action is Action.UPDATE and change.new is not None:
        # The log leaves the old key out when it is the new one.
        old = _key(relation, change.new)
    return LoggedChange(relation, change.action, begin.commit_time, new, old)


def _whole(relation: Relation, values: Tuple) -> LoggedRow:
    columns = zip(relation.columns, values, strict=True)
    return LoggedRow(
        values, frozenset(column.name for column, value in columns if value is not Unchanged.TOAST)
    )


def _key(relation: Relation, values: Tuple) -> LoggedRow:
    return LoggedRow(values, frozenset(c.name for c in relation.columns if c.in_identity))
