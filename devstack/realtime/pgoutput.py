"""Decode PostgreSQL's `pgoutput` logical replication messages, protocol version 1.

Pure: bytes in, messages out. A value is the text that PostgreSQL's output function wrote; its type
is an object id that only a database can explain.
"""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Unchanged(Enum):
    """Marks a TOASTed value that an UPDATE didn't touch: the log doesn't carry it."""

    TOAST = "toast"


Value = str | None | Unchanged
Tuple = tuple[Value, ...]


class Action(StrEnum):
    """What happened to a row."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class ReplicaIdentity(StrEnum):
    """Which columns of an old row the log carries, as in `pg_class.relreplident`."""

    DEFAULT = "d"
    NOTHING = "n"
    FULL = "f"
    INDEX = "i"


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it was when the change was made."""

    name: str
    type_oid: int
    in_identity: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as it was when the changes after this message were made."""

    oid: int
    schema: str
    table: str
    identity: ReplicaIdentity
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """The changes up to the next `Commit` belong to one transaction."""

    commit_time: datetime
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The transaction's end."""

    commit_time: datetime


@dataclass(frozen=True, slots=True)
class RowChange:
    """One changed row.

    Attributes:
        new: All columns; None for a DELETE.
        old: The old row as far as the log has it: None where it has nothing.
        old_is_key: Whether `old` has the identity's columns only; the others are None in it.
    """

    relation_oid: int
    action: Action
    new: Tuple | None
    old: Tuple | None
    old_is_key: bool


@dataclass(frozen=True, slots=True)
class Truncate:
    """All rows of these tables went."""

    relation_oids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Other:
    """A message without meaning here: a type's name, an origin, a logical message."""

    kind: str


Message = Begin | Commit | Relation | RowChange | Truncate | Other


class _Reader:
    """Takes the fields of one message off its front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def integer(self, layout: str) -> int:
        (value,) = struct.unpack_from(f">{layout}", self._data, self._at)
        self._at += struct.calcsize(layout)
        return int(value)

    def character(self) -> str:
        self._at += 1
        return chr(self._data[self._at - 1])

    def string(self) -> str:
        end = self._data.index(0, self._at)
        text = self._data[self._at : end].decode()
        self._at = end + 1
        return text

    def text(self, length: int) -> str:
        self._at += length
        return self._data[self._at - length : self._at].decode()

    def time(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self.integer("q"))

    def values(self) -> Tuple:
        return tuple(self._value() for _ in range(self.integer("h")))

    def _value(self) -> Value:
        kind = self.character()
        if kind == "n":
            return None
        if kind == "u":
            return Unchanged.TOAST
        if kind == "t":
            return self.text(self.integer("i"))
        raise ValueError(f"pgoutput: unknown kind of value {kind!r}")


def decode(data: bytes) -> Message:
    """Decode one message.

    Raises:
        ValueError: It isn't a message of this protocol version.
    """
    reader = _Reader(data)
    kind = chr(data[0]) if data else ""
    try:
        reader.character()
        match kind:
            case "B":
                reader.integer("q")  # the position of the transaction's end
                return Begin(reader.time(), reader.integer("i"))
            case "C":
                for layout in ("b", "q", "q"):  # flags, and the positions of commit and end
                    reader.integer(layout)
                return Commit(reader.time())
            case "R":
                return _relation(reader)
            case "I" | "U" | "D":
                return _row_change(kind, reader)
            case "T":
                count = reader.integer("i")
                reader.integer("b")  # cascade, restart identity
                return Truncate(tuple(reader.integer("I") for _ in range(count)))
            case "Y" | "O" | "M":
                return Other(kind)
    except (struct.error, IndexError) as error:
        raise ValueError(f"pgoutput: message {kind!r} is cut short") from error
    raise ValueError(f"pgoutput: unknown message {kind!r}")


def _relation(reader: _Reader) -> Relation:
    oid = reader.integer("I")
    # pg_catalog is sent as the empty string.
    schema = reader.string() or "pg_catalog"
    table = reader.string()
    identity = ReplicaIdentity(reader.character())
    columns = []
    for _ in range(reader.integer("h")):
        in_identity = bool(reader.integer("b") & 1)
        name = reader.string()
        columns.append(Column(name, reader.integer("I"), in_identity))
        reader.integer("i")  # the type's modifier
    return Relation(oid, schema, table, identity, tuple(columns))


def _row_change(kind: str, reader: _Reader) -> RowChange:
    action = {"I": Action.INSERT, "U": Action.UPDATE, "D": Action.DELETE}[kind]
    oid = reader.integer("I")
    old: Tuple | None = None
    old_is_key = False
    part = reader.character()
    if part in "KO":
        old_is_key = part == "K"
        old = reader.values()
        if action is Action.DELETE:
            return RowChange(oid, action, None, old, old_is_key)
        part = reader.character()
    if part != "N":
        raise ValueError(f"pgoutput: unknown part {part!r} of a row")
    return RowChange(oid, action, reader.values(), old, old_is_key)
