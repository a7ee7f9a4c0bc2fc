"""Who may do what: keys, tokens, roles and row level security."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from postgrest.exceptions import APIError

from devstack.stack import Stack
from devstack.tokens import mint

TABLE = """
    create table notes (id int primary key, owner uuid default auth.uid(), text text);
    alter table notes enable row level security;
    create policy own_notes on notes to authenticated
        using (owner = auth.uid()) with check (owner = auth.uid());
    create table secrets (id int);
    revoke all on secrets from anon, authenticated;
    create role librarian nologin;
    grant librarian to authenticator;
    create function librarians_only() returns text language sql security definer
        as 'select ''done''::text';
    revoke execute on function librarians_only from public, anon, authenticated, service_role;
    grant execute on function librarians_only to librarian;
    grant usage on schema public to librarian;
"""
GONE = """
    drop function librarians_only;
    drop table notes, secrets;
    drop owned by librarian;
    drop role librarian;
"""


@pytest.fixture(scope="module", autouse=True)
def notes(run_sql: Callable[[str], None]) -> Iterator[None]:
    run_sql(TABLE)
    yield
    run_sql(GONE)


async def test_each_user_sees_only_his_rows(stack: Stack, client_of: Any) -> None:
    """Row level security decides by the token's user; service_role sees all."""
    first = await client_of(stack.anon_key, stack.token(uuid4()))
    second = await client_of(stack.anon_key, stack.token(uuid4()))
    nobody = await client_of(stack.anon_key)
    service = await client_of(stack.service_role_key)
    await first.table("notes").insert({"id": 1, "text": "mine"}).execute()

    assert len((await first.table("notes").select("*").execute()).data) == 1
    assert (await second.table("notes").select("*").execute()).data == []
    assert (await nobody.table("notes").select("*").execute()).data == []
    assert len((await service.table("notes").select("*").execute()).data) == 1
    assert (await second.table("notes").update({"text": "x"}).eq("id", 1).execute()).data == []


async def test_a_row_for_somebody_else_is_refused(stack: Stack, client_of: Any) -> None:
    """An insert that breaks the policy is 42501."""
    client = await client_of(stack.anon_key, stack.token(uuid4()))
    with pytest.raises(APIError) as caught:
        await client.table("notes").insert({"id": 2, "owner": str(uuid4())}).execute()

    assert caught.value.code == "42501"


async def test_a_role_of_a_migration_may_do_what_it_was_granted(
    stack: Stack, client_of: Any
) -> None:
    """A token of a later role executes what was granted, and nobody else's does."""
    worker = await client_of(stack.anon_key, mint(stack.jwt_secret, "librarian"))
    service = await client_of(stack.service_role_key)

    assert (await worker.rpc("librarians_only", {}).execute()).data == "done"
    with pytest.raises(APIError, match="42501"):
        await worker.table("secrets").select("*").execute()
    with pytest.raises(APIError, match="42501"):
        await service.rpc("librarians_only", {}).execute()


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("authenticated", 403)])
async def test_a_refusal_depends_on_whether_we_know_who_asks(
    stack: Stack, token: str | None, status: int
) -> None:
    """Permission denied is 401 without a user and 403 with one."""
    headers = {"apikey": stack.anon_key}
    if token:
        headers["Authorization"] = f"Bearer {stack.token(uuid4())}"
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{stack.url}/rest/v1/secrets", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (status, "42501")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda s: s.token(uuid4(), expires_in=-60), "PGRST303"),
        (lambda s: mint("another secret of the right length!!", "service_role"), "PGRST301"),
        (lambda s: "not-a-token", "PGRST301"),
    ],
)
async def test_bad_tokens_are_401(stack: Stack, make: Any, code: str) -> None:
    """An expired, forged or senseless token is 401 with its own code."""
    headers = {"apikey": stack.anon_key, "Authorization": f"Bearer {make(stack)}"}
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{stack.url}/rest/v1/notes", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer error=")


@pytest.mark.parametrize("headers", [{}, {"apikey": "wrong"}])
async def test_the_gateway_wants_a_known_key(stack: Stack, headers: dict[str, str]) -> None:
    """Without a known API key nothing is answered."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{stack.url}/rest/v1/notes", headers=headers)

    assert answer.status_code == 401
    assert "API key" in answer.json()["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/rest/v1/notes",
        "/auth/v1/settings",
        "/storage/v1/bucket",
        "/realtime/v1/websocket",
    ],
)
async def test_a_token_is_no_key(stack: Stack, path: str) -> None:
    """Who holds the project's secret can make tokens, and the gateway takes none as a key."""
    headers = {"apikey": stack.worker_token, "Authorization": f"Bearer {stack.worker_token}"}
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{stack.url}{path}", headers=headers)

    assert (answer.status_code, answer.json()["message"]) == (401, "Invalid API key")


@pytest.mark.parametrize("path", ["/rest/v1/notes", "/realtime/v1/api/broadcast"])
async def test_an_opaque_key_is_no_token(stack: Stack, path: str) -> None:
    """In `Authorization` it is taken only where it repeats the key."""
    headers = {"apikey": stack.anon_key, "Authorization": f"Bearer {stack.keys.secret}"}
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{stack.url}{path}", headers=headers, json={"messages": []})
        headers["apikey"] = stack.keys.secret
        repeated = await client.post(f"{stack.url}{path}", headers=headers, json={"messages": []})

    assert answer.status_code == 401
    assert repeated.status_code != 401


async def test_opaque_keys_stand_for_roles(stack: Stack, client_of: Any) -> None:
    """`sb_secret_` is service_role and `sb_publishable_` is anon."""
    secret = await client_of(stack.keys.secret)
    publishable = await client_of(stack.keys.publishable)

    assert (await secret.table("secrets").select("*").execute()).data == []
    with pytest.raises(APIError, match="42501"):
        await publishable.table("secrets").select("*").execute()


async def test_a_browser_of_any_origin_may_ask(stack: Stack) -> None:
    """A preflight is allowed, and answers, errors too, carry the origin header."""
    ask = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "apikey,authorization,prefer",
    }
    async with httpx.AsyncClient() as client:
        preflight = await client.options(f"{stack.url}/rest/v1/notes", headers=ask)
        refused = await client.get(f"{stack.url}/rest/v1/notes", headers={"Origin": "http://x"})

    assert preflight.status_code == 204
    assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
    assert "apikey" in preflight.headers["Access-Control-Allow-Headers"]
    assert refused.headers["Access-Control-Allow-Origin"] == "*"
