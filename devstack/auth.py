"""Enough of Auth that a client gets a user and a token: `/auth/v1/`.

Sign-up with e-mail and password (confirmed at once, no mail is sent), anonymous sign-in, sign-in,
refresh, sign-out. A sign-in is a row of `auth.sessions`; its refresh token is replaced at every
use.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import asyncpg
import jwt
from aiohttp import web

from devstack.identity import Gate, Identity, KeyRefused, Pool
from devstack.passwords import hashed, matches
from devstack.tokens import mint

_TOKEN_SECONDS = 3600
_SHORTEST_PASSWORD = 6
_USER = """
    id, aud, role, email, raw_app_meta_data, raw_user_meta_data, is_anonymous, email_confirmed_at,
    last_sign_in_at, created_at, updated_at
"""
_Answer = Callable[[web.Request], Awaitable[web.Response]]


class AuthError(Exception):
    """A refusal in the shape that the clients read.

    Args:
        status: The HTTP status.
        code: What a program tells it by.
        message: What a person reads.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"code": status, "error_code": code, "msg": message}


class Auth:
    """Answers requests about users and their sessions.

    Args:
        pool: Connections as the database's owner.
        gate: Tells who asks.
        jwt_secret: What tokens are signed with.
    """

    def __init__(self, pool: Pool, gate: Gate, jwt_secret: str) -> None:
        self._pool = pool
        self._gate = gate
        self._jwt_secret = jwt_secret

    def routes(self) -> list[web.RouteDef]:
        """Return all routes, relative to the server's root."""
        return [
            web.get("/auth/v1/health", self._health),
            web.get("/auth/v1/settings", self._answering(self._settings)),
            web.get("/auth/v1/.well-known/jwks.json", self._public_keys),
            web.post("/auth/v1/signup", self._answering(self._sign_up)),
            web.post("/auth/v1/token", self._answering(self._token)),
            web.get("/auth/v1/user", self._answering(self._read_user)),
            web.put("/auth/v1/user", self._answering(self._update_user)),
            web.post("/auth/v1/logout", self._answering(self._sign_out)),
        ]

    def _answering(self, work: _Answer) -> _Answer:
        async def handle(request: web.Request) -> web.Response:
            try:
                return await work(request)
            except AuthError as error:
                return web.json_response(error.body, status=error.status)
            except KeyRefused as error:
                return web.json_response({"message": error.message}, status=401)
            except jwt.InvalidTokenError as error:
                refused = AuthError(403, "bad_jwt", f"invalid JWT: {error}")
                return web.json_response(refused.body, status=refused.status)

        return handle

    async def _health(self, _: web.Request) -> web.Response:
        name = "ourvidz-worker local stack"
        return web.json_response({"version": "local", "name": name, "description": name})

    async def _settings(self, request: web.Request) -> web.Response:
        self._gate.identify(request)
        external = {"email": True, "anonymous_users": True, "phone": False}
        return web.json_response(
            {"external": external, "disable_signup": False, "mailer_autoconfirm": True}
        )

    async def _public_keys(self, _: web.Request) -> web.Response:
        # Tokens are signed with a shared secret, which has no public half.
        return web.json_response({"keys": []})

    async def _sign_up(self, request: web.Request) -> web.Response:
        self._gate.identify(request)
        body = await _body(request)
        email, password = _email(body), body.get("password")
        if email is None and password is None:
            return web.json_response(await self._new_session(await self._add(None, None, body)))
        if email is None or not isinstance(password, str):
            raise AuthError(422, "validation_failed", "Signup requires an email and a password")
        if len(password) < _SHORTEST_PASSWORD:
            message = f"Password should be at least {_SHORTEST_PASSWORD} characters."
            weak = AuthError(422, "weak_password", message)
            weak.body["weak_password"] = {"reasons": ["length"], "message": message}
            raise weak
        try:
            user = await self._add(email, await asyncio.to_thread(hashed, password), body)
        except asyncpg.UniqueViolationError:
            raise AuthError(422, "user_already_exists", "User already registered") from None
        return web.json_response(await self._new_session(user))

    async def _add(
        self, email: str | None, password: str | None, body: Mapping[str, Any]
    ) -> asyncpg.Record:
        providers = {"provider": "email", "providers": ["email"]} if email else {}
        return await self._row(
            "insert into auth.users (email, encrypted_password, raw_app_meta_data,"
            " raw_user_meta_data, is_anonymous, email_confirmed_at) values"
            " ($1, $2, $3, $4, $1::text is null, case when $1::text is not null then now() end)"
            f" returning {_USER}",
            email,
            password,
            json.dumps(providers),
            json.dumps(body.get("data") or {}),
        )

    async def _token(self, request: web.Request) -> web.Response:
        self._gate.identify(request)
        body = await _body(request)
        match request.query.get("grant_type"):
            case "password":
                return web.json_response(await self._by_password(body))
            case "refresh_token":
                return web.json_response(await self._by_refresh_token(body))
            case other:
                raise AuthError(400, "invalid_grant", f"unsupported grant type {other}")

    async def _by_password(self, body: Mapping[str, Any]) -> dict[str, Any]:
        user = await self._pool.fetchrow(
            f"select encrypted_password, {_USER} from auth.users where email = $1", _email(body)
        )
        known = user["encrypted_password"] if user else None
        given = str(body.get("password", ""))
        if user is None or known is None or not await asyncio.to_thread(matches, given, known):
            raise AuthError(400, "invalid_credentials", "Invalid login credentials")
        return await self._new_session(user)

    async def _by_refresh_token(self, body: Mapping[str, Any]) -> dict[str, Any]:
        replacement = secrets.token_urlsafe(16)
        session = await self._pool.fetchrow(
            "update auth.sessions set refresh_token = $2 where refresh_token = $1"
            " returning id, user_id",
            str(body.get("refresh_token", "")),
            replacement,
        )
        if session is None:
            message = "Invalid Refresh Token: Refresh Token Not Found"
            raise AuthError(400, "refresh_token_not_found", message)
        user = await self._row(f"select {_USER} from auth.users where id = $1", session["user_id"])
        return self._session(user, session["id"], replacement)

    async def _new_session(self, user: asyncpg.Record) -> dict[str, Any]:
        refresh_token = secrets.token_urlsafe(16)
        session = await self._row(
            "insert into auth.sessions (user_id, refresh_token) values ($1, $2) returning id",
            user["id"],
            refresh_token,
        )
        user = await self._row(
            f"update auth.users set last_sign_in_at = now() where id = $1 returning {_USER}",
            user["id"],
        )
        return self._session(user, session["id"], refresh_token)

    def _session(self, row: asyncpg.Record, session: UUID, refresh_token: str) -> dict[str, Any]:
        user = _user(row)
        shared = {key: user[key] for key in ("email", "app_metadata", "user_metadata")}
        claims = shared | {
            "session_id": str(session),
            "is_anonymous": user["is_anonymous"],
            "aal": "aal1",
            "phone": "",
        }
        return {
            "access_token": mint(
                self._jwt_secret, user["role"], user["id"], _TOKEN_SECONDS, claims
            ),
            "token_type": "bearer",
            "expires_in": _TOKEN_SECONDS,
            "expires_at": int(time.time()) + _TOKEN_SECONDS,
            "refresh_token": refresh_token,
            "user": user,
        }

    def _signed_in(self, request: web.Request) -> Identity:
        identity = self._gate.identify(request)
        if identity.user_id is None:
            raise AuthError(403, "bad_jwt", "invalid claim: missing sub claim")
        return identity

    async def _read_user(self, request: web.Request) -> web.Response:
        identity = self._signed_in(request)
        user = await self._pool.fetchrow(
            f"select {_USER} from auth.users where id = $1", identity.user_id
        )
        if user is None:
            message = "User from sub claim in JWT does not exist"
            raise AuthError(403, "user_not_found", message)
        return web.json_response(_user(user))

    async def _update_user(self, request: web.Request) -> web.Response:
        identity = self._signed_in(request)
        body = await _body(request)
        password = body.get("password")
        user = await self._row(
            "update auth.users set email = coalesce($2, email),"
            " encrypted_password = coalesce($3, encrypted_password),"
            " is_anonymous = is_anonymous and $2::text is null, updated_at = now(),"
            f" raw_user_meta_data = raw_user_meta_data || $4 where id = $1 returning {_USER}",
            identity.user_id,
            _email(body),
            await asyncio.to_thread(hashed, password) if isinstance(password, str) else None,
            json.dumps(body.get("data") or {}),
        )
        return web.json_response(_user(user))

    async def _sign_out(self, request: web.Request) -> web.Response:
        identity = self._signed_in(request)
        session = identity.claims.get("session_id")
        scope = request.query.get("scope", "global")
        await self._pool.execute(
            "delete from auth.sessions where user_id = $1 and case $3"
            " when 'local' then id = $2 when 'others' then id is distinct from $2 else true end",
            identity.user_id,
            session,
            scope,
        )
        return web.Response(status=204)

    async def _row(self, statement: str, *values: object) -> asyncpg.Record:
        row = await self._pool.fetchrow(statement, *values)
        if row is None:
            raise AuthError(404, "user_not_found", "User not found")
        return row


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        content = json.loads(await request.text() or "{}")
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise AuthError(400, "bad_json", "Could not parse request body as JSON")
    return content


def _email(body: Mapping[str, Any]) -> str | None:
    email = body.get("email")
    return email.strip().lower() if isinstance(email, str) and email else None


def _user(row: asyncpg.Record) -> dict[str, Any]:
    def moment(name: str) -> str | None:
        return row[name].isoformat() if row[name] else None

    return {
        "id": str(row["id"]),
        "aud": row["aud"],
        "role": row["role"],
        "email": row["email"] or "",
        "phone": "",
        "email_confirmed_at": moment("email_confirmed_at"),
        "last_sign_in_at": moment("last_sign_in_at"),
        "app_metadata": json.loads(row["raw_app_meta_data"]),
        "user_metadata": json.loads(row["raw_user_meta_data"]),
        "identities": [],
        "created_at": moment("created_at"),
        "updated_at": moment("updated_at"),
        "is_anonymous": row["is_anonymous"],
    }
