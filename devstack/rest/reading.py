"""What a request asks to see: columns, rows, order, range."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from devstack.rest.errors import ApiError, parse_error
from devstack.rest.fields import Parameters, Relation, field
from devstack.rest.filters import condition
from devstack.rest.syntax import identifier, split, unquote

RESERVED = frozenset({"select", "order", "limit", "offset", "columns", "on_conflict", "apikey"})
_ITEM = re.compile(r'(?:("(?:[^"\\]|\\.)*"|[^:"]+):(?!:))?(.+?)(?:::([\w ]+(?:\[\])?))?', re.DOTALL)
_ORDER = re.compile(r"(.+?)(?:\.(asc|desc))?(?:\.(nullsfirst|nullslast))?")
_DIRECTIONS = {"nullsfirst": "nulls first", "nullslast": "nulls last"}


@dataclass(frozen=True)
class Window:
    """Which of the matching rows are wanted.

    Attributes:
        offset: How many to leave out.
        limit: How many at most, None for all.
    """

    offset: int = 0
    limit: int | None = None

    @property
    def sql(self) -> str:
        """The clause, empty for all rows."""
        limit = "" if self.limit is None else f" limit {self.limit}"
        return limit + (f" offset {self.offset}" if self.offset else "")


def selected(relation: Relation, text: str, parameters: Parameters) -> str:
    """Return the select list: `*`, `id,label:name,metadata->>prompt,cost::text`."""
    return ", ".join(_item(relation, item.strip(), parameters) for item in split(text or "*"))


def _item(relation: Relation, text: str, parameters: Parameters) -> str:
    if text == "*":
        return f"{relation.sql}.*"
    if text.endswith(")"):
        message = "The local stack neither embeds other tables nor aggregates in a select"
        raise ApiError(400, "PGRST200", message, details=text)
    match = _ITEM.fullmatch(text)
    if not match:
        raise parse_error("select parameter", text)
    label, path, cast = match.groups()
    found = field(relation, path, parameters)
    sql = f"cast({found.sql} as {cast})" if cast else found.sql
    return f"{sql} as {identifier(unquote(label) if label else found.label)}"


def conditions(relation: Relation, query: Iterable[tuple[str, str]], parameters: Parameters) -> str:
    """Return the where clause for all filters of a query string, empty without any."""
    found = [
        condition(relation, key, value, parameters) for key, value in query if key not in RESERVED
    ]
    return f" where {' and '.join(found)}" if found else ""


def ordered(relation: Relation, text: str | None, parameters: Parameters) -> str:
    """Return the order clause for `created_at.desc.nullslast,id`, empty without one."""
    if not text:
        return ""
    terms = []
    for term in split(text):
        match = _ORDER.fullmatch(term.strip())
        if not match:
            raise parse_error("order", text)
        sql = field(relation, match[1], parameters).sql
        terms.append(" ".join([sql, match[2] or "asc", _DIRECTIONS.get(match[3], "")]).strip())
    return f" order by {', '.join(terms)}"


def window(limit: str | None, offset: str | None, header: str | None) -> Window:
    """Read `limit` and `offset`, or else the header `Range: 0-9`."""
    try:
        if limit is not None or offset is not None:
            chosen = Window(int(offset or 0), None if limit is None else int(limit))
        elif header and (match := re.fullmatch(r"(?:items=)?(\d+)-(\d*)", header)):
            first = int(match[1])
            chosen = Window(first, int(match[2]) - first + 1 if match[2] else None)
        else:
            return Window()
    except ValueError:
        raise parse_error("limit or offset", f"{limit}, {offset}") from None
    if chosen.offset < 0 or (chosen.limit is not None and chosen.limit < 0):
        raise ApiError(416, "PGRST103", "Requested range not satisfiable")
    return chosen


def names(text: str | None) -> Sequence[str]:
    """Read a list of column names, as in `columns` and `on_conflict`."""
    return [unquote(name.strip()) for name in split(text)] if text else []
