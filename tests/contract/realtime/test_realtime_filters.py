"""Filters of bindings: how they are read, and which rows they let through.

The expectations of the second part were taken from the real server, v2.129.8.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from devstack.realtime.filters import BadFilterError, Filter, parse_filters

ROWS = [
    ("Alpha", "queued"),
    ("beta", "running"),
    ("gamma,delta", "queued"),
    ("a(b)", "done"),
    (None, "queued"),
]
NAMES = {"A": 0, "b": 1, "g": 2, "(": 3, "-": 4}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("   ", ()),
        ("status=eq.queued", (Filter("status", "eq", "queued", negated=False),)),
        ("n=not.lt.5", (Filter("n", "lt", "5", negated=True),)),
        ("s=eq.", (Filter("s", "eq", "", negated=False),)),
        ("s=in.(a,b)", (Filter("s", "in", "{a,b}", negated=False),)),
        ('s=in.("a,b",c)', (Filter("s", "in", '{"a,b",c}', negated=False),)),
        ('s=eq."a,b"', (Filter("s", "eq", "a,b", negated=False),)),
        (r's=eq."a\",b"', (Filter("s", "eq", 'a",b', negated=False),)),
        ("s=eq.a(b,c)", (Filter("s", "eq", "a(b,c)", negated=False),)),
        ("a=eq.1=2", (Filter("a", "eq", "1=2", negated=False),)),
        (
            "a=gt.1, b=lt.2",
            (Filter("a", "gt", "1", negated=False), Filter("b", "lt", "2", negated=False)),
        ),
    ],
)
def test_filter_is_read(text: str, expected: tuple[Filter, ...]) -> None:
    """Commas divide, except in parentheses and quotes."""
    assert parse_filters(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("undefined", '["undefined"]'),
        ("status=foo.x", '["foo", "x"]'),
        ("status=not.foo.x", '["foo", "x"]'),
        ("status=eq", '["eq"]'),
        ("status=in.(queued", "`in` filter value must be wrapped by parentheses"),
        (
            "status=eq.queued,",
            "filter must not contain empty segments (check for extra commas)",
        ),
        ("job_type=eq.gamma,delta", '["delta"]'),
    ],
)
def test_bad_filter_is_refused(text: str, message: str) -> None:
    """The words are the real server's."""
    with pytest.raises(BadFilterError) as refused:
        parse_filters(text)

    assert str(refused.value) == message


FILTERS = {
    "job_type=like.A%": "A",
    "job_type=like.A*": "",
    "job_type=ilike.a%": "A(",
    "job_type=match.^[ab]": "b(",
    "job_type=imatch.^a": "A(",
    "job_type=is.null": "-",
    "job_type=not.is.null": "Abg(",
    "job_type=isdistinct.beta": "Ag(-",
    "job_type=not.isdistinct.beta": "b",
    "job_type=neq.beta": "Ag(",
    "status=not.eq.queued": "b(",
    "status=eq.queued,job_type=neq.beta": "Ag",
    'job_type=eq."gamma,delta"': "g",
    'job_type=in.("gamma,delta",beta)': "bg",
    "status=not.in.(queued,done)": "b",
    "job_type=eq.a(b)": "(",
    "": "Abg(-",
    "created_at=gt.2000-01-01": "Abg(-",
    "created_at=lt.2000-01-01": "",
    "user_id=is.null": "Abg(-",
}


async def test_filters_let_the_right_rows_through(
    serve: Callable[..., Any], connect: Callable[..., Any], database: asyncpg.Connection
) -> None:
    """Each operator decides as PostgreSQL does for the column's type; null passes few."""
    client = await connect(await serve())
    for number, text in enumerate(FILTERS):
        binding = {"event": "INSERT", "schema": "public", "table": "jobs", "filter": text}
        await client.subscribe(str(number), binding)
    await client.subscribe("end", {"event": "*", "schema": "public", "table": "marker"})

    await database.executemany("insert into public.jobs(job_type, status) values ($1, $2)", ROWS)
    await database.execute("insert into public.marker default values")
    await client.next("postgres_changes", "realtime:end")

    expected = {
        text: [ROWS[NAMES[letter]] for letter in letters] for text, letters in FILTERS.items()
    }
    found: dict[str, list[Any]] = {text: [] for text in FILTERS}
    for frame in client.frames:
        if frame["event"] == "postgres_changes":
            record = frame["payload"]["data"]["record"]
            text = list(FILTERS)[int(frame["topic"].removeprefix("realtime:"))]
            found[text].append((record["job_type"], record["status"]))
    assert found == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metadata->>a=eq.1", "invalid column for filter metadata->>a"),
        ("status=is.true", "is true filter requires a boolean column, got text"),
        ("status=is.maybe", "invalid value for is filter: must be null, true, false, or unknown"),
        ("status=match.(", "invalid regular expression"),
        ("user_id=like.a%", "uuid"),
        (f"status=in.({','.join('a' * 101)})", "too many values for `in` filter. Maximum 100"),
    ],
)
async def test_impossible_filter_is_refused_at_the_join(
    serve: Callable[..., Any],
    connect: Callable[..., Any],
    database: asyncpg.Connection,
    text: str,
    message: str,
) -> None:
    """It doesn't wait for the first change to fail."""
    client = await connect(await serve())

    await client.join("t", {"event": "*", "schema": "public", "table": "jobs", "filter": text})
    system = (await client.next("system"))["payload"]

    assert (system["status"], system["extension"]) == ("error", "postgres_changes")
    assert message in system["message"]


async def test_filters_see_the_new_row_and_of_deletes_the_old(
    serve: Callable[..., Any], connect: Callable[..., Any], database: asyncpg.Connection
) -> None:
    """A delete passes a filter only where the log carries the column."""
    client = await connect(await serve())
    for table in ("jobs", "jobs_full"):
        binding = {"event": "*", "schema": "public", "table": table, "filter": "status=eq.queued"}
        await client.subscribe(table, binding)

    async with asyncio.timeout(60):
        for table in ("jobs", "jobs_full"):
            await database.execute(f"insert into public.{table}(status) values ('queued')")
            await database.execute(f"update public.{table} set status = 'done'")
            await database.execute(f"update public.{table} set status = 'queued'")
            await database.execute(f"delete from public.{table}")
        found = [await client.change() for _ in range(5)]

    assert [(change["table"], change["type"]) for change in found] == [
        ("jobs", "INSERT"),
        ("jobs", "UPDATE"),
        ("jobs_full", "INSERT"),
        ("jobs_full", "UPDATE"),
        ("jobs_full", "DELETE"),
    ]
