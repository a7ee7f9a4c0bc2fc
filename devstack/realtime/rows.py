"""Turn the text values of the log into JSON, and test them against filters.

Both are PostgreSQL's work: it knows every type's JSON form and every operator. One query serves
many rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from devstack.realtime.catalog import Database, Type
from devstack.realtime.filters import OPERATORS, Filter
from devstack.realtime.log import LoggedRow
from devstack.realtime.pgoutput import Column, Relation

Filters = tuple[Filter, ...]
_MAX_ROWS = 1_000
_NUMBERS = ("float4", "float8", "numeric")
_NOT_JSON = ("NaN", "Infinity", "-Infinity")
_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Row:
    """A row that can be delivered.

    Attributes:
        values: JSON of each column that the log carries, in the order of `jsonb`.
        passed: The filters that it passes.
    """

    values: Mapping[str, msgspec.Raw]
    passed: frozenset[Filters]


async def read_rows(
    database: Database,
    relation: Relation,
    types: Mapping[int, Type],
    rows: Sequence[LoggedRow],
    filters: Sequence[Filters],
) -> list[Row]:
    """Convert rows and test each against all filters.

    A filter on a column that the log doesn't carry isn't passed.
    """
    found: list[Row] = []
    query = _query(relation, types, filters)
    constants = [item.value for group in filters for item in group if item.operator != "is"]
    for start in range(0, len(rows), _MAX_ROWS):
        part = rows[start : start + _MAX_ROWS]
        texts = zip(*(_texts(relation, types, row) for row in part), strict=True)
        records = await database.fetch(query, *map(list, texts), *constants)
        for row, record in zip(part, records, strict=True):
            values = _decoder.decode(record["json"])
            passed = zip(filters, record["passed"], strict=True)
            found.append(
                Row(
                    {name: value for name, value in values.items() if name in row.present},
                    frozenset(
                        group
                        for group, verdict in passed
                        if verdict and all(item.column in row.present for item in group)
                    ),
                )
            )
    return found


def _texts(relation: Relation, types: Mapping[int, Type], row: LoggedRow) -> tuple[str | None, ...]:
    return tuple(
        _text(types[column.type_oid], value)
        for column, value in zip(relation.columns, row.values, strict=True)
    )


def _text(type_: Type, value: object) -> str | None:
    # JSON has no such numbers; the real server sends null.
    if not isinstance(value, str) or (type_.name in _NUMBERS and value in _NOT_JSON):
        return None
    return value


def _query(relation: Relation, types: Mapping[int, Type], filters: Sequence[Filters]) -> str:
    columns = relation.columns
    arrays = ", ".join(f"${number}::text[]" for number in range(1, len(columns) + 1))
    names = ", ".join(f"v{number}" for number in range(len(columns)))
    fields = ", ".join(
        f"{_json_value(number, types[column.type_oid])} as {quote(column.name)}"
        for number, column in enumerate(columns)
    )
    return f"""
        select
            (select to_jsonb(fields)::text from (select {fields}) fields) as json,
            array[{_verdicts(columns, types, filters)}]::boolean[] as passed
        from unnest({arrays}) with ordinality as log({names}, position)
        order by position
    """


def _json_value(number: int, type_: Type) -> str:
    if type_.name == "bytea":
        return f"encode(v{number}::bytea, 'hex')"
    return f"v{number}::{type_.sql_name}"


def _verdicts(
    columns: Sequence[Column], types: Mapping[int, Type], filters: Sequence[Filters]
) -> str:
    number_of = {column.name: number for number, column in enumerate(columns)}
    parameter = len(columns)
    verdicts = []
    for group in filters:
        terms = []
        for item in group:
            if item.operator != "is":
                parameter += 1
            number = number_of.get(item.column)
            if number is None:
                # Renamed or dropped since the subscription: the constant still needs its place.
                terms.append("false" if item.operator == "is" else f"(${parameter}::text is null)")
                continue
            type_name = types[columns[number].type_oid].sql_name
            terms.append(comparison(f"v{number}::{type_name}", type_name, item, parameter))
        verdicts.append(" and ".join(terms) or "true")
    return ", ".join(verdicts)


def comparison(operand: str, type_name: str, item: Filter, parameter: int) -> str:
    """Write a filter as SQL that is never null."""
    if item.operator == "is":
        # Only a keyword can stand here; a subscription with another is refused.
        test = f"{operand} is {item.value}"
    else:
        array = "[]" if item.operator == "in" else ""
        constant = f"(${parameter}::text::{type_name}{array})"
        test = f"{operand} {OPERATORS[item.operator]} {constant}"
    return f"coalesce({'not ' if item.negated else ''}({test}), false)"


def quote(identifier: str) -> str:
    """Quote a name for SQL."""
    return '"' + identifier.replace('"', '""') + '"'
