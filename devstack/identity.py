"""Who sent a request, and its transaction: shared by everything that answers HTTP.

The order of checks is the hosted gateway's: 1. the API key must be known; 2. an `Authorization`
that only repeats it, or none, gives the key's own role; 3. any other must be a valid token.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import asyncpg
from aiohttp import web
from asyncpg.pool import PoolConnectionProxy

from devstack.tokens import ApiKeys, verify

# Only the stubs know that these are generic.
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

# PostgREST forgives a token this much, since clocks differ.
_CLOCK_SKEW_SECONDS = 30.0


class KeyRefused(Exception):  # noqa: N818 - reads as the fact it states
    """The API key is missing or unknown.

    Args:
        message: The gateway's words.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True)
class Identity:
    """What a request may do.

    Attributes:
        role: The database role that its statements run under.
        claims: The token's claims, readable in SQL as `request.jwt.claims`.
    """

    role: str
    claims: Mapping[str, Any] = field(default_factory=dict)

    @property
    def user_id(self) -> str | None:
        """The signed-in user, None for a key alone."""
        return self.claims.get("sub")


class Gate:
    """Tells who sent a request.

    Args:
        keys: The project's API keys.
        jwt_secret: What its tokens are signed with.
    """

    def __init__(self, keys: ApiKeys, jwt_secret: str) -> None:
        self._roles = keys.roles()
        self._jwt_secret = jwt_secret

    def identify(self, request: web.Request, *, key_required: bool = True) -> Identity:
        """Return the sender.

        Raises:
            KeyRefused: By the gateway, before any service sees the request.
            jwt.InvalidTokenError: The bearer token isn't valid, or is no longer.
        """
        key = request.headers.get("apikey") or request.query.get("apikey")
        bearer = bearer_of(request)
        if key is None and key_required:
            raise KeyRefused("No API key found in request")
        if key is not None and key not in self._roles:
            raise KeyRefused("Invalid API key")
        if bearer is None or bearer == key:
            role = self._roles[key] if key else "anon"
            return Identity(role, {"role": role})
        return self.of_token(bearer)

    @web.middleware
    async def realtime_gateway(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let through to Realtime who shows one of the project's keys; it asks tokens itself."""
        if not request.path.startswith("/realtime/v1/"):
            return await handler(request)
        key = request.query.get("apikey") or request.headers.get("apikey")
        bearer = bearer_of(request) or ""
        if key not in self._roles or (bearer.startswith("sb_") and bearer != key):
            message = "Invalid API key" if key else "No API key found in request"
            return web.json_response({"message": message}, status=401)
        return await handler(request)

    def of_token(self, token: str) -> Identity:
        """Return whom a token stands for, or raise `jwt.InvalidTokenError`."""
        claims = verify(self._jwt_secret, token, leeway=_CLOCK_SKEW_SECONDS)
        role = str(claims.get("role", "anon"))
        return Identity(role, claims | {"role": role})


def bearer_of(request: web.Request) -> str | None:
    """Return the token of the `Authorization` header, None when there is none."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


@asynccontextmanager
async def transaction_of(
    pool: Pool, request: web.Request, identity: Identity, *, readonly: bool = False
) -> AsyncIterator[Connection]:
    """Open a transaction in which SQL sees the sender's role and request, as with PostgREST."""
    async with pool.acquire() as connection, connection.transaction(readonly=readonly):
        await connection.execute(
            "select set_config('request.jwt.claims', $1, true),"
            " set_config('request.method', $2, true), set_config('request.path', $3, true),"
            " set_config('request.headers', $4, true), set_config('request.cookies', $5, true),"
            " set_config('role', $6, true)",
            json.dumps(dict(identity.claims)),
            request.method,
            request.path,
            json.dumps({name.lower(): value for name, value in request.headers.items()}),
            json.dumps(dict(request.cookies)),
            identity.role,
        )
        yield connection
