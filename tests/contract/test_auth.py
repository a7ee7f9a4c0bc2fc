"""Users and sessions as the official Python client asks for them."""

from typing import Any
from uuid import uuid4

import pytest
from supabase import AuthApiError
from supabase_auth.errors import AuthError

from devstack.stack import Stack
from devstack.tokens import verify


async def test_an_anonymous_user_gets_a_token_that_sql_knows(
    stack: Stack, client_of: Any, run_sql: Any
) -> None:
    """After an anonymous sign-in requests run as that user."""
    client = await client_of(stack.anon_key)
    signed_in = await client.auth.sign_in_anonymously()
    run_sql("create function who() returns uuid language sql stable as 'select auth.uid()'")
    try:
        seen = (await client.rpc("who", {}).execute()).data
    finally:
        run_sql("drop function who")
    claims = verify(stack.jwt_secret, signed_in.session.access_token)

    assert signed_in.user.is_anonymous
    assert seen == signed_in.user.id == claims["sub"]
    assert (claims["role"], claims["aud"]) == ("authenticated", "authenticated")


async def test_sign_up_sign_in_refresh_sign_out(stack: Stack, client_of: Any) -> None:
    """A user signs up with a password, signs in elsewhere, refreshes and signs out."""
    email = f"{uuid4()}@example.com"
    first = await client_of(stack.anon_key)
    credentials = {"email": email, "password": "correct horse"}
    up = await first.auth.sign_up({**credentials, "options": {"data": {"name": "Ann"}}})
    second = await client_of(stack.anon_key)
    signed_in = await second.auth.sign_in_with_password(credentials)
    refreshed = await second.auth.refresh_session()
    user = await second.auth.get_user()
    updated = await second.auth.update_user({"data": {"name": "Bea"}})
    with pytest.raises(AuthApiError) as reused:
        await second.auth.refresh_session(signed_in.session.refresh_token)
    await second.auth.sign_out()
    with pytest.raises(AuthApiError):
        await first.auth.refresh_session(refreshed.session.refresh_token)

    assert up.user.id == signed_in.user.id == refreshed.user.id == user.user.id
    assert user.user.user_metadata == {"name": "Ann"}
    assert updated.user.user_metadata == {"name": "Bea"}
    assert reused.value.code == "refresh_token_not_found"


@pytest.mark.parametrize(
    ("password", "code"), [("correct horse", "user_already_exists"), ("short", "weak_password")]
)
async def test_sign_up_refuses(stack: Stack, client_of: Any, password: str, code: str) -> None:
    """An e-mail signs up once, with a password that isn't too short."""
    email = f"{uuid4()}@example.com"
    client = await client_of(stack.anon_key)
    await client.auth.sign_up({"email": email, "password": "correct horse"})
    with pytest.raises(AuthError) as caught:
        await client.auth.sign_up({"email": email.upper(), "password": password})

    assert caught.value.code == code


async def test_a_wrong_password_and_an_unknown_user_look_alike(
    stack: Stack, client_of: Any
) -> None:
    """Sign-in doesn't tell who has an account."""
    email = f"{uuid4()}@example.com"
    client = await client_of(stack.anon_key)
    await client.auth.sign_up({"email": email, "password": "correct horse"})
    messages = []
    for attempt in (email, "nobody@example.com"):
        with pytest.raises(AuthApiError) as caught:
            await client.auth.sign_in_with_password({"email": attempt, "password": "wrong"})
        messages.append((caught.value.code, caught.value.message))

    assert messages == [("invalid_credentials", "Invalid login credentials")] * 2


async def test_a_key_is_not_a_user(stack: Stack, client_of: Any) -> None:
    """Asking for the user with a key alone, or a bad token, is refused."""
    client = await client_of(stack.anon_key)
    for token in (stack.anon_key, "not-a-token", stack.token(uuid4(), expires_in=-60)):
        with pytest.raises(AuthApiError) as caught:
            await client.auth.get_user(token)
        assert caught.value.code == "bad_jwt"
