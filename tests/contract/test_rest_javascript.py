"""The official JavaScript client against the stack: tables, functions, users, files, changes."""

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from javascript import FOLDER, node_with_client

from devstack.stack import Stack

SCENARIO_SECONDS = 60
SQL = """
    create table js_things (name text primary key, size int default 5, notes jsonb default '{}');
    alter table js_things enable row level security;
    alter publication supabase_realtime add table js_things;
    create function js_add(a int, b int) returns int language sql stable as 'select a + b';
    revoke execute on function js_add from public, anon;
    create function js_nothing() returns void language sql as 'select';
    create function js_who() returns uuid language sql stable as 'select auth.uid()';
    create table js_books (
        id int primary key, title text, tags text[] default '{}', metadata jsonb default '{}',
        price numeric(6, 2), sold timestamptz
    );
    insert into js_books values
        (1, 'Emma', '{novel,old}', '{"pages": 300, "by": {"name": "Austen"}}', 9.50, null),
        (2, 'Ulysses', '{novel}', '{"pages": 730, "by": {"name": "Joyce"}}', 12, '2026-01-02'),
        (3, 'a,b "c" (d)', '{}', '{}', null, '2026-01-01');
"""
GONE = "drop table js_things, js_books; drop function js_add, js_nothing, js_who"


@pytest.fixture(scope="module")
def node() -> str:
    """The path of a node that can run the client."""
    return node_with_client()


@pytest.fixture
def scenario(stack: Stack, node: str, run_sql: Callable[[str], None]) -> Iterator[Any]:
    """Run a scenario and return what it printed."""

    def run(name: str) -> Any:
        environment = {
            "URL_OF_STACK": stack.url,
            "ANON_KEY": stack.anon_key,
            "SERVICE_ROLE_KEY": stack.service_role_key,
        }
        done = subprocess.run(
            [node, "scenarios.mjs", name],
            cwd=FOLDER,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SCENARIO_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    run_sql(SQL)
    yield run
    run_sql(GONE)


def test_tables(scenario: Any) -> None:
    """Reading and writing rows answers what the client promises."""
    assert scenario("tables") == {
        "insert": {"status": 201, "data": None},
        "duplicate": {"status": 409, "data": None, "code": "23505"},
        "returning": {"status": 201, "data": [{"name": "c", "size": 5}]},
        "upsert": {"status": 201, "data": [{"name": "a", "size": 9}]},
        "page": {"status": 206, "data": [{"name": "a"}, {"name": "b"}], "count": 3},
        "head": {"status": 200, "data": None, "count": 3},
        "filtered": {"status": 200, "data": [{"name": "a"}, {"name": "b"}, {"name": "c"}]},
        "path": {"status": 200, "data": []},
        "single": {"status": 200, "data": {"name": "b"}},
        "none": {"status": 200, "data": None},
        "several": {"status": 406, "data": None, "code": "PGRST116"},
        "update": {"status": 200, "data": [{"size": 1}]},
        "unfiltered": {"status": 400, "data": None, "code": "21000"},
        "remove": {"status": 204, "data": None},
    }


def test_filters(scenario: Any) -> None:
    """Each filter of the client selects the rows that it names."""
    assert scenario("filters") == {
        "eq": [2],
        "neq": [1, 3],
        "between": [2],
        "atLeast": [2],
        "like": [2],
        "ilike": [2],
        "likeAny": [1, 2],
        "likeAll": [1],
        "isNull": [1],
        "notNull": [2, 3],
        "in": [1, 3],
        "inNothing": [],
        "notIn": [3],
        "containsArray": [1, 2],
        "containsObject": [1],
        "containedBy": [2, 3],
        "overlaps": [1],
        "path": [2],
        "or": [1, 3],
        "search": [1],
        "match": [1],
        "filter": [3],
        "limit": [1],
        "unknownColumn": "42703",
    }


def test_functions(scenario: Any) -> None:
    """Functions are called by POST and GET, and refused where they weren't granted."""
    assert scenario("functions") == {
        "scalar": {"status": 200, "data": 3},
        "read": {"status": 200, "data": 3},
        "nothing": {"status": 204, "data": None},
        "unknown": {"status": 404, "data": None, "code": "PGRST202"},
        "refused": {"status": 401, "data": None, "code": "42501"},
    }


def test_users(scenario: Any) -> None:
    """Users sign up, in and out, and their requests run as them."""
    assert scenario("users") == {
        "anonymous": True,
        "same": True,
        "wrong": "invalid_credentials",
        "refreshed": True,
        "role": "authenticated",
        "out": None,
    }


def test_files(scenario: Any) -> None:
    """Files go up raw, in forms and by ticket, and come back in every way."""
    assert scenario("files") == {
        "raw": True,
        "form": "u/form.txt",
        "twice": [400, "409", "The resource already exists"],
        "replaced": None,
        "signed": "new",
        "open": ["in a form", "text/plain"],
        "listed": ["form.txt", "raw.bin", "ticket.txt"],
        "downloaded": "in a form",
        "info": [9, "text/plain", {"n": 1}],
        "there": [True, False],
        "missing": True,
        "removed": 3,
        "gone": {"message": "Successfully deleted"},
    }


def test_resumable_uploads(scenario: Any) -> None:
    """The usual TUS client uploads in chunks."""
    assert scenario("resumable") == {
        "progress": [400_000, 800_000, 1_000_000],
        "same": True,
        "type": "video/mp4",
    }


def test_changes(scenario: Any) -> None:
    """An inserted row reaches a subscribed client."""
    assert scenario("realtime") == {"eventType": "INSERT", "table": "js_things", "name": "live"}
