"""Reading tables as the official Python client does it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from postgrest.exceptions import APIError
from supabase import AsyncClient

ROWS = """
    create table books (
        id int primary key, title text, tags text[] default '{}', metadata jsonb default '{}',
        price numeric(6, 2), sold timestamptz
    );
    insert into books values
        (1, 'Emma', '{novel,old}', '{"pages": 300, "by": {"name": "Austen"}}', 9.50, null),
        (2, 'Ulysses', '{novel}', '{"pages": 730, "by": {"name": "Joyce"}}', 12, '2026-01-02'),
        (3, 'a,b "c" (d)', '{}', '{}', null, '2026-01-01');
"""


@pytest.fixture(scope="module", autouse=True)
def books(run_sql: Callable[[str], None]) -> Iterator[None]:
    run_sql(ROWS)
    yield
    run_sql("drop table books")


@pytest.mark.parametrize(
    ("add_filter", "expected"),
    [
        (lambda q: q.eq("id", 2), [2]),
        (lambda q: q.neq("id", 2), [1, 3]),
        (lambda q: q.gt("price", 9.5).lte("price", "12.00"), [2]),
        (lambda q: q.gte("id", 2).lt("id", 3), [2]),
        (lambda q: q.like("title", "U%"), [2]),
        (lambda q: q.ilike("title", "*ULY*"), [2]),
        (lambda q: q.like_any_of("title", "E%,U%"), [1, 2]),
        (lambda q: q.is_("sold", None), [1]),
        (lambda q: q.not_.is_("sold", None), [2, 3]),
        (lambda q: q.in_("title", ["Emma", 'a,b "c" (d)']), [1, 3]),
        (lambda q: q.in_("id", []), []),
        (lambda q: q.not_.in_("id", [1, 2]), [3]),
        (lambda q: q.contains("tags", ["novel"]), [1, 2]),
        (lambda q: q.contains("metadata", {"pages": 300}), [1]),
        (lambda q: q.contained_by("tags", ["novel", "x"]), [2, 3]),
        (lambda q: q.overlaps("tags", ["old", "x"]), [1]),
        (lambda q: q.eq("metadata->by->>name", "Joyce"), [2]),
        (lambda q: q.eq("metadata->pages", 730), [2]),
        (lambda q: q.or_("id.eq.1,and(id.gt.1,title.like.U*)"), [1, 2]),
        (lambda q: q.or_('title.eq."a,b \\"c\\" (d)",id.in.(1,7)'), [1, 3]),
        (lambda q: q.or_("id.not.eq.1,not.and(id.gt.0,title.eq.Emma)"), [2, 3]),
        (lambda q: q.fts("title", "emma"), [1]),
        (lambda q: q.match({"id": 1, "title": "Emma"}), [1]),
    ],
)
async def test_filters(service: AsyncClient, add_filter: Any, expected: list[int]) -> None:
    """Each filter of the client selects the rows that it names."""
    answer = await add_filter(service.table("books").select("id").order("id")).execute()

    assert [row["id"] for row in answer.data] == expected


async def test_columns_paths_casts_and_labels(service: AsyncClient) -> None:
    """A select names columns, paths into JSON, casts and labels; types are PostgreSQL's own."""
    columns = "id::text,label:title,metadata->by->>name,metadata->pages,price,sold"
    answer = await service.table("books").select(columns).eq("id", 2).single().execute()

    assert answer.data == {
        "id": "2",
        "label": "Ulysses",
        "name": "Joyce",
        "pages": 730,
        "price": 12.0,
        "sold": "2026-01-02T00:00:00+00:00",
    }


async def test_order_and_pages(service: AsyncClient) -> None:
    """Rows come in the asked order, nulls where asked, a page at a time."""
    query = service.table("books").select("id", count="exact")
    answer = await query.order("price", desc=True, nullsfirst=True).range(0, 1).execute()

    assert [row["id"] for row in answer.data] == [3, 2]
    assert answer.count == 3


async def test_a_head_request_only_counts(service: AsyncClient) -> None:
    """A head request answers the count and no rows."""
    answer = (
        await service.table("books").select("*", count="exact", head=True).gt("id", 1).execute()
    )

    assert answer.count == 2
    assert answer.data == []


async def test_one_row_or_none(service: AsyncClient) -> None:
    """`single` wants exactly one row, `maybe_single` at most one."""
    none = await service.table("books").select("*").eq("id", 9).maybe_single().execute()
    with pytest.raises(APIError) as caught:
        await service.table("books").select("*").gt("id", 1).single().execute()

    assert none is None
    assert caught.value.code == "PGRST116"
    assert caught.value.details == "The result contains 2 rows"


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (lambda c: c.table("nothing").select("*"), "PGRST205"),
        (lambda c: c.table("books").select("nothing"), "42703"),
        (lambda c: c.table("books").select("*").eq("nothing", 1), "42703"),
        (lambda c: c.table("books").select("*").eq("id", "x"), "22P02"),
        (lambda c: c.table("books").select("*").filter("id", "about", "1"), "PGRST100"),
        (lambda c: c.table("books").select("*,authors(*)"), "PGRST200"),
        (lambda c: c.schema("auth").table("users").select("*"), "PGRST106"),
    ],
)
async def test_what_cant_be_read_is_said_in_postgrests_words(
    service: AsyncClient, ask: Any, code: str
) -> None:
    """A wrong request is an error with the code that PostgREST gives it."""
    with pytest.raises(APIError) as caught:
        await ask(service).execute()

    assert caught.value.code == code


async def test_a_value_is_never_sql(service: AsyncClient) -> None:
    """Quotes in values and names stay what they are."""
    answer = await service.table("books").select("id").eq("title", "' or true --").execute()
    with pytest.raises(APIError) as caught:
        await service.table("books").select('"id\\" from books; --"').execute()

    assert answer.data == []
    assert caught.value.code == "42703"
