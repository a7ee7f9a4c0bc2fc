"""A column, or a path into a JSON column, as SQL."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from devstack.rest.errors import parse_error
from devstack.rest.syntax import identifier, unquote

_STEP = re.compile(r"(->>?)")


class Parameters(list[str]):
    """The values of a statement; every one travels as text and is cast in SQL."""

    def add(self, value: str) -> str:
        """Append a value and return its place in the SQL."""
        self.append(value)
        return f"${len(self)}::text"


@dataclass(frozen=True)
class Column:
    """A column of a table or of a function's result.

    Attributes:
        type: Its type without length or precision, for comparing.
        full_type: Its type as declared, for storing.
        default: The SQL of its default, None without one.
        key: Whether it belongs to the primary key.
    """

    type: str
    full_type: str
    default: str | None = None
    key: bool = False


@dataclass(frozen=True)
class Relation:
    """Something with columns that a request reads or writes.

    Attributes:
        name: Its name in messages.
        sql: Its quoted name in SQL.
        columns: Its columns by name, in order.
    """

    name: str
    sql: str
    columns: Mapping[str, Column]


@dataclass(frozen=True)
class Field:
    """One value of a row.

    Attributes:
        sql: The expression.
        type: Its SQL type.
        label: The name it has in a result.
    """

    sql: str
    type: str
    label: str


def field(relation: Relation, text: str, parameters: Parameters) -> Field:
    """Read `column`, `column->key->0` or `column->>key`."""
    column, *path = _STEP.split(text)
    name = unquote(column.strip())
    if not name:
        raise parse_error("a column name", text)
    known = relation.columns.get(name)
    # An unknown column gets PostgreSQL's own error, which names it.
    found = Field(
        f"{relation.sql}.{identifier(name)}",
        known.type if known else "text",
        name,
    )
    if not path:
        return found
    steps = list(zip(path[::2], path[1::2], strict=True))
    sql = found.sql
    if found.type not in {"json", "jsonb"}:
        sql = f"to_jsonb({sql})"
    for arrow, key in steps:
        is_index = re.fullmatch(r"-?\d+", key)
        sql = f"({sql}{arrow}{key if is_index else f'({parameters.add(unquote(key))})'})"
    json_type = "json" if found.type == "json" else "jsonb"
    labels = [name] + [unquote(key) for _, key in steps if not key.lstrip("-").isdigit()]
    return Field(sql, "text" if steps[-1][0] == "->>" else json_type, labels[-1])
