"""The SQL of reading and writing a table.

Every function returns the statement that yields the rows to answer with; `answers` wraps it. A
payload travels as one parameter, as JSON, and PostgreSQL gives its members the columns' types.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from devstack.rest.answers import Statement
from devstack.rest.errors import ApiError, unknown_column
from devstack.rest.fields import Parameters, Relation
from devstack.rest.reading import Window, conditions, ordered, selected
from devstack.rest.syntax import identifier

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Payload:
    """The rows of a request's body.

    Attributes:
        text: They as a JSON array, exactly as they were sent.
        rows: The same, read.
        columns: The columns to write.
    """

    text: str
    rows: list[dict[str, Any]]
    columns: Sequence[str]

    @classmethod
    def read(cls, body: str, columns: Sequence[str]) -> "Payload":
        """Read a body; without `columns` the keys of the rows count, all alike."""
        try:
            content = json.loads(body)
        except ValueError:
            raise ApiError(400, "PGRST102", "Empty or invalid json") from None
        rows = content if isinstance(content, list) else [content]
        if not all(isinstance(row, dict) for row in rows):
            raise ApiError(400, "PGRST102", "Empty or invalid json")
        if not columns and rows:
            columns = list(rows[0])
            if any(row.keys() != rows[0].keys() for row in rows):
                raise ApiError(400, "PGRST102", "All object keys must match")
        return cls(body if isinstance(content, list) else f"[{body}]", rows, columns)


@dataclass(frozen=True)
class Conflict:
    """What an insert does about rows that exist.

    Attributes:
        columns: What makes a row the same; the primary key when empty.
        merge: Whether to update it, else it is left alone.
    """

    columns: Sequence[str]
    merge: bool


def read(relation: Relation, query: Query, window: Window, parameters: Parameters) -> Statement:
    """Return the statement for rows of a table."""
    values = dict(query)
    columns = selected(relation, values.get("select", "*"), parameters)
    where = conditions(relation, query, parameters)
    order = ordered(relation, values.get("order"), parameters)
    rows = f"select {columns} from {relation.sql}{where}{order}{window.sql}"
    return Statement(rows, count=f"select count(*) from {relation.sql}{where}")


def insert(
    relation: Relation,
    payload: Payload,
    conflict: Conflict | None,
    parameters: Parameters,
    *,
    use_defaults: bool,
) -> str:
    """Return the statement that adds rows, without its returning clause."""
    into = f"insert into {relation.sql}"
    if not payload.columns:
        return f"{into} default values" if payload.rows else f"{into} select where false"
    columns = ", ".join(identifier(name) for name in payload.columns)
    source = _payload_rows(relation, payload, parameters, use_defaults=use_defaults)
    listed = ", ".join(f"_.{identifier(name)}" for name in payload.columns)
    rows = f"select {listed} from {source}"
    return f"{into} ({columns}) {rows}{_on_conflict(relation, payload, conflict)}"


def update(relation: Relation, payload: Payload, query: Query, parameters: Parameters) -> str:
    """Return the statement that changes rows, without its returning clause."""
    source = _payload_rows(relation, payload, parameters, use_defaults=False)
    changes = ", ".join(f"{identifier(name)} = _.{identifier(name)}" for name in payload.columns)
    where = _required(conditions(relation, query, parameters), "UPDATE")
    return f"update {relation.sql} set {changes} from (select * from {source} limit 1) as _{where}"


def delete(relation: Relation, query: Query, parameters: Parameters) -> str:
    """Return the statement that removes rows, without its returning clause."""
    where = _required(conditions(relation, query, parameters), "DELETE")
    return f"delete from {relation.sql}{where}"


def _required(where: str, command: str) -> str:
    # Hosted projects load pg-safeupdate for API requests.
    if not where:
        raise ApiError(400, "21000", f"{command} requires a WHERE clause")
    return where


def _known(relation: Relation, names: Iterable[str]) -> None:
    for name in names:
        if name not in relation.columns:
            raise unknown_column(name, relation.name)


def _payload_rows(
    relation: Relation, payload: Payload, parameters: Parameters, *, use_defaults: bool
) -> str:
    _known(relation, payload.columns)
    columns = relation.columns
    shape = ", ".join(f"{identifier(name)} {columns[name].full_type}" for name in payload.columns)
    place = parameters.add(payload.text)
    if not use_defaults:
        return f"json_to_recordset({place}::json) as _ ({shape})"
    pairs = [
        f"{_literal(name)}, {default}"
        for name in payload.columns
        if (default := columns[name].default)
    ]
    row = f"jsonb_build_object({', '.join(pairs)}) || element"
    rows = f"jsonb_array_elements({place}::jsonb) as element"
    return f"{rows}, lateral jsonb_to_record({row}) as _ ({shape})"


def _literal(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def _on_conflict(relation: Relation, payload: Payload, conflict: Conflict | None) -> str:
    if conflict is None:
        return ""
    keys = conflict.columns or [name for name, column in relation.columns.items() if column.key]
    if not keys:
        return ""
    target = f" on conflict ({', '.join(identifier(name) for name in keys)}) do "
    if not conflict.merge:
        return f"{target}nothing"
    changes = (f"{identifier(name)} = excluded.{identifier(name)}" for name in payload.columns)
    return f"{target}update set {', '.join(changes)}"
