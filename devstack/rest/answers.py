"""From a statement to an HTTP response: shape, count and range."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from devstack.identity import Connection
from devstack.rest.errors import ApiError, not_single
from devstack.rest.fields import Parameters
from devstack.rest.reading import Window

_OBJECT = "application/vnd.pgrst.object+json"
_ARRAY = "application/vnd.pgrst.array+json"


@dataclass(frozen=True)
class Wishes:
    """What a request's headers ask for.

    Attributes:
        single: One object instead of an array.
        strip_nulls: Without the members that are null.
        preferences: The `Prefer` header; of one named twice the first counts.
    """

    single: bool = False
    strip_nulls: bool = False
    preferences: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, request: web.Request) -> "Wishes":
        """Read the headers."""
        accept = request.headers.get("Accept", "").replace(" ", "")
        preferences: dict[str, str] = {}
        for header in request.headers.getall("Prefer", []):
            for item in header.split(","):
                name, _, value = item.strip().partition("=")
                preferences.setdefault(name, value)
        return cls(_OBJECT in accept, "nulls=stripped" in accept, preferences)

    @property
    def counts(self) -> bool:
        """Whether the number of all matching rows is wanted; estimates are answered exactly."""
        return "count" in self.preferences

    @property
    def represents(self) -> bool:
        """Whether the rows that a write changed are wanted."""
        return self.preferences.get("return") == "representation"

    @property
    def content_type(self) -> str:
        """The type that answers."""
        stripped = ";nulls=stripped" if self.strip_nulls else ""
        if self.single:
            return f"{_OBJECT}{stripped}; charset=utf-8"
        return (
            f"{_ARRAY}{stripped}; charset=utf-8" if stripped else "application/json; charset=utf-8"
        )


@dataclass(frozen=True)
class Rows:
    """What a statement yielded.

    Attributes:
        body: The JSON of the answer.
        found: How many rows it has.
        total: How many match in all, None when nobody asked.
    """

    body: str
    found: int
    total: int | None


@dataclass(frozen=True)
class Statement:
    """What to run, and what its rows are.

    Attributes:
        sql: What yields the rows.
        count: What counts all that match, also those outside the range; None where it's the same.
        scalar: Whether a row stands for its only value, the column `pgrst_scalar`.
        one: Whether the result is one value by its nature, not an array.
    """

    sql: str
    count: str | None = None
    scalar: bool = False
    one: bool = False


async def fetch(
    connection: Connection, statement: Statement, parameters: Parameters, wishes: Wishes
) -> Rows:
    """Run a statement inside the request's transaction and let PostgreSQL build the JSON."""
    strip = "json_strip_nulls" if wishes.strip_nulls else ""
    element = "answer.pgrst_scalar" if statement.scalar else "answer"
    array = f"coalesce({strip}(json_agg({element})), '[]')"
    counted = wishes.counts and statement.count
    total = f"({statement.count})" if counted else "null::int8"
    row = await connection.fetchrow(
        f"with source as ({statement.sql}) select {array}::text as many,"
        f" coalesce({array}->0, 'null')::text as first, count(*) as found, {total} as total"
        " from (select * from source) as answer",
        *parameters,
    )
    if row is None:
        raise AssertionError("an aggregate always yields one row")
    if wishes.single and not statement.one and row["found"] != 1:
        raise not_single(row["found"])
    body = row["first"] if wishes.single or statement.one else row["many"]
    return Rows(body, row["found"], row["total"])


def page(rows: Rows, window: Window, wishes: Wishes) -> web.Response:
    """Answer a read: with status 206 when it is known that there are more rows."""
    status = 200
    if rows.total is not None:
        if window.offset > rows.total:
            found = f"but there are only {rows.total} rows"
            details = f"An offset of {window.offset} was requested, {found}."
            raise ApiError(416, "PGRST103", "Requested range not satisfiable", details)
        status = 206 if rows.found < rows.total else 200
    last = window.offset + rows.found - 1
    shown = f"{window.offset}-{last}" if rows.found else "*"
    total = "*" if rows.total is None else rows.total
    return respond(status, rows.body, wishes, {"Content-Range": f"{shown}/{total}"})


def respond(status: int, body: str, wishes: Wishes, headers: Mapping[str, str]) -> web.Response:
    """Return a JSON response."""
    headers = {"Content-Type": wishes.content_type, **headers}
    return web.Response(status=status, body=body.encode(), headers=headers)


def failure(error: ApiError) -> web.Response:
    """Return an error in PostgREST's shape."""
    body: dict[str, Any] = error.body
    return web.json_response(body, status=error.status, headers=error.headers)
