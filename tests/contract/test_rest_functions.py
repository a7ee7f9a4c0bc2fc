"""Calling functions as the official Python client does it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from postgrest.exceptions import APIError
from supabase import AsyncClient

FUNCTIONS = """
    create table planets (id int primary key, name text, moons int);
    insert into planets values (3, 'Earth', 1), (4, 'Mars', 2), (5, 'Jupiter', 95);

    create function add(a int, b int default 10) returns int language sql as 'select a + b';
    create function describe(v jsonb, names text[]) returns jsonb language sql
        as 'select jsonb_build_object(''v'', v, ''names'', names)';
    create function nothing() returns void language sql as 'select';
    create function write_it() returns void language sql volatile
        as 'insert into planets values (9, ''x'', 0)';
    create function all_planets() returns setof planets language sql stable
        as 'select * from planets';
    create function a_planet(p_id int) returns planets language sql stable
        as 'select * from planets where id = p_id';
    create function names() returns setof text language sql stable
        as 'select name from planets order by id';
    create function pairs() returns table (n int) language sql stable as 'values (1), (2)';
    create function raises(code text) returns void language plpgsql as $$
        begin raise exception using errcode = code, message = 'no', hint = 'h', detail = 'd'; end
    $$;
    create function twice(a int) returns int language sql as 'select 2 * a';
    create function twice(a int, b text) returns text language sql as 'select b || b || a';
    create function take_all(jsonb) returns int language sql as 'select (($1)->>''x'')::int';
    create function whoami() returns json language sql stable as $$
        select json_build_object(
            'role', current_user, 'claim', auth.role(), 'uid', auth.uid(),
            'method', current_setting('request.method'), 'path', current_setting('request.path'),
            'client', current_setting('request.headers')::json ->> 'x-client-info'
        )
    $$;
"""
NAMES = "add, describe, nothing, write_it, all_planets, a_planet, names, pairs, raises, whoami"


@pytest.fixture(scope="module", autouse=True)
def functions(run_sql: Callable[[str], None]) -> Iterator[None]:
    run_sql(FUNCTIONS)
    yield
    run_sql(f"drop function {NAMES}, twice(int), twice(int, text), take_all; drop table planets")


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("add", {"a": 1}, 11),
        ("add", {"b": 2, "a": 1}, 3),
        (
            "describe",
            {"v": {"x": [None, "é"]}, "names": ["a", "b,c"]},
            {"v": {"x": [None, "é"]}, "names": ["a", "b,c"]},
        ),
        ("nothing", {}, []),
        ("a_planet", {"p_id": 4}, {"id": 4, "name": "Mars", "moons": 2}),
        ("names", {}, ["Earth", "Mars", "Jupiter"]),
        ("pairs", {}, [{"n": 1}, {"n": 2}]),
        ("twice", {"a": 4}, 8),
        ("twice", {"a": 4, "b": "x"}, "xx4"),
        ("take_all", {"x": 5}, 5),
    ],
)
async def test_results(service: AsyncClient, name: str, arguments: Any, expected: Any) -> None:
    """A scalar is a scalar, a row an object, a set an array, and void is empty."""
    answer = await service.rpc(name, arguments).execute()

    assert answer.data == expected


async def test_a_result_with_rows_can_be_filtered(service: AsyncClient) -> None:
    """Filters, order, limits and columns work on a function's rows."""
    query = service.rpc("all_planets", {}, count="exact").gt("moons", 1)
    answer = await query.order("id", desc=True).limit(1).select("name").execute()

    assert answer.data == [{"name": "Jupiter"}]
    assert answer.count == 2


async def test_a_get_calls_without_writing(service: AsyncClient) -> None:
    """A GET takes its arguments from the query string and mustn't change anything."""
    added = await service.rpc("add", {"a": 1, "b": 2}, get=True).execute()
    filtered = await service.rpc("all_planets", {}, get=True).eq("id", 3).execute()
    with pytest.raises(APIError) as caught:
        await service.rpc("write_it", {}, get=True).execute()

    assert added.data == 3
    assert [row["name"] for row in filtered.data] == ["Earth"]
    assert caught.value.code == "25006"


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("unknown", {}, "PGRST202"),
        ("add", {"c": 1}, "PGRST202"),
        ("add", {}, "PGRST202"),
        ("raises", {"code": "P0001"}, "P0001"),
        ("raises", {"code": "OV001"}, "OV001"),
        ("add", {"a": "x"}, "22P02"),
    ],
)
async def test_failures(service: AsyncClient, name: str, arguments: Any, code: str) -> None:
    """A missing function and an error raised inside one have PostgREST's codes."""
    with pytest.raises(APIError) as caught:
        await service.rpc(name, arguments).execute()

    assert caught.value.code == code


async def test_a_function_chooses_its_status(stack: Any, service: AsyncClient) -> None:
    """SQLSTATE PT429 becomes HTTP 429, with hint and details."""
    answer = await service.postgrest.session.post(
        f"{stack.url}/rest/v1/rpc/raises",
        json={"code": "PT429"},
        headers={"apikey": stack.service_role_key},
    )

    assert answer.status_code == 429
    assert answer.json() == {"code": "PT429", "message": "no", "hint": "h", "details": "d"}


async def test_sql_sees_the_request(stack: Any, client_of: Any) -> None:
    """A function sees the role, the user, the method, the path and the headers."""
    user = "11111111-1111-4111-8111-111111111111"
    client = await client_of(stack.anon_key, stack.token(user))
    seen = (await client.rpc("whoami", {}).execute()).data

    assert seen.pop("client").startswith("supabase-py/")
    assert seen == {
        "role": "authenticated",
        "claim": "authenticated",
        "uid": user,
        "method": "POST",
        "path": "/rest/v1/rpc/whoami",
    }
