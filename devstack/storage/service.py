"""What every route of Storage needs: who asks, the rows, the files, and errors as answers."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import asyncpg
import jwt
from aiohttp import web

from devstack.identity import Connection, Gate, Identity, KeyRefused, Pool, transaction_of
from devstack.storage.errors import StorageError, from_database, from_token
from devstack.storage.files import Files

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Service:
    """Shared by all routes.

    Attributes:
        pool: Connections as the database's owner.
        gate: Tells who asks.
        files: The bytes.
        jwt_secret: What signed URLs are signed with.
    """

    pool: Pool
    gate: Gate
    files: Files
    jwt_secret: str

    def identify(self, request: web.Request) -> Identity:
        """Return the sender; unlike elsewhere a token without an API key is enough."""
        return self.gate.identify(request, key_required=False)

    def transaction(
        self, request: web.Request, identity: Identity | None = None
    ) -> AbstractAsyncContextManager[Connection]:
        """Open a transaction under the sender's role."""
        return transaction_of(self.pool, request, identity or self.identify(request))

    def answering(self, work: Answer) -> Answer:
        """Wrap a handler so that a refusal becomes an answer."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await work(request)
            except StorageError as error:
                refused = error
            except KeyRefused as error:
                return web.json_response({"message": error.message}, status=401)
            except jwt.InvalidTokenError as error:
                refused = from_token(error)
            except asyncpg.PostgresError as error:
                refused = from_database(error)
            return web.json_response(refused.body, status=refused.http)

        return handle


async def body_of(request: web.Request) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        content = await request.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise StorageError(400, "Error", "body must be object")
    return content
