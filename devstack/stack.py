"""The whole stack: PostgreSQL, and one HTTP server in front that speaks for Supabase's services.

Lifetimes nest: database, connections, server, Realtime; what starts first stops last.
"""

import json
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

import asyncpg
from aiohttp import WSCloseCode, web

from devstack.auth import Auth
from devstack.errors import PortTaken
from devstack.identity import Gate, Pool
from devstack.postgres import Postgres, Shutdown
from devstack.realtime import Realtime, RealtimeSettings
from devstack.rest.routes import Rest
from devstack.storage.routes import Storage
from devstack.tokens import TEN_YEARS, ApiKeys, mint

_LARGEST_BODY = 256 * 1024**2


class Stack:
    """A running stack as an async context manager.

    Args:
        data_dir: Where everything lives: database, files, keys.
        port: The HTTP port on 127.0.0.1, 0 for a free one.
        postgres_port: The database's port, 0 for a free one.
        fsync: Whether data must survive a crash of the machine.
        realtime: Limits and timings of Realtime.
    """

    realtime: Realtime

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        postgres_port: int = 0,
        fsync: bool = False,
        realtime: RealtimeSettings | None = None,
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._port = port
        self._realtime_settings = realtime or RealtimeSettings()
        settings = {"fsync": "on" if fsync else "off"}
        self._postgres = Postgres(data_dir / "postgres", port=postgres_port, settings=settings)
        self._exit = AsyncExitStack()
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self.jwt_secret, self.keys = _kept_keys(self._data_dir / "keys.json")
        self.worker_token = mint(self.jwt_secret, "ourvidz_worker", expires_in=TEN_YEARS)
        """A token of the role that may only execute the worker's functions; it is no API key."""
        self.url = ""

    @property
    def dsn(self) -> str:
        """The superuser's connection string."""
        return self._postgres.dsn

    @property
    def anon_key(self) -> str:
        """The API key for browsers."""
        return self.keys.anon

    @property
    def service_role_key(self) -> str:
        """The API key that passes row level security."""
        return self.keys.service_role

    def token(
        self, user_id: str | UUID, *, role: str = "authenticated", expires_in: float = 3600
    ) -> str:
        """Sign a user's token, as a sign-in would return it."""
        return mint(self.jwt_secret, role, user_id, expires_in)

    async def stop_realtime(self, *, kill: bool = False) -> None:
        """Stop Realtime alone: sockets are closed with 1012, handshakes are answered 503.

        Args:
            kill: Drop the sockets without a word instead, as when its process dies.
        """
        await self.realtime.stop(None if kill else WSCloseCode.SERVICE_RESTART)

    async def start_realtime(self) -> None:
        """Start Realtime again; it knows nothing of before."""
        await self.realtime.start()

    async def restart_realtime(self, *, kill: bool = False) -> None:
        """Stop Realtime and start it again; changes of the time between are lost."""
        await self.stop_realtime(kill=kill)
        await self.start_realtime()

    async def stop_database(self, how: Shutdown = "fast") -> None:
        """Stop PostgreSQL alone: sockets stay open, everything that asks the database fails."""
        await self._postgres.stop(how)

    async def start_database(self) -> None:
        """Start PostgreSQL again where it was; Realtime finds it by itself and says nothing."""
        await self._postgres.start()

    async def restart_database(self, how: Shutdown = "fast") -> None:
        """Stop PostgreSQL and start it again; its clients lose their connections."""
        await self.stop_database(how)
        await self.start_database()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._exit.aclose()

    async def _start(self) -> None:
        await self._exit.enter_async_context(self._postgres)
        visitors = await self._pool(self._postgres.dsn_of("authenticator"))
        owners = await self._pool(self._postgres.dsn)
        gate = Gate(self.keys, self.jwt_secret)
        opaque = {self.keys.publishable: "anon", self.keys.secret: "service_role"}
        self.realtime = Realtime(self.dsn, self.jwt_secret, opaque, self._realtime_settings)
        middlewares = [_cross_origin, gate.realtime_gateway]
        app = web.Application(client_max_size=_LARGEST_BODY, middlewares=middlewares)
        app.add_routes(Rest(visitors, gate).routes())
        app.add_routes(Storage(owners, gate, self._data_dir / "storage", self.jwt_secret).routes())
        app.add_routes(Auth(owners, gate, self.jwt_secret).routes())
        app.add_routes(self.realtime.routes())
        await self._serve(app)
        # Last to start, so first to stop: its sockets want to be closed by a server that runs.
        await self._exit.enter_async_context(self.realtime)

    async def _pool(self, dsn: str) -> Pool:
        # Statements aren't kept: a migration in the middle of a test would make them stale.
        pool = asyncpg.create_pool(dsn, min_size=1, max_size=16, statement_cache_size=0)
        return await self._exit.enter_async_context(pool)

    async def _serve(self, app: web.Application) -> None:
        # As with the real services, a client that goes away doesn't stop what it has begun.
        runner = web.AppRunner(app, shutdown_timeout=2)
        self._exit.push_async_callback(runner.cleanup)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._port)
        try:
            await site.start()
        except OSError as error:
            raise PortTaken(self._port) from error
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"


@web.middleware
async def _cross_origin(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Let a frontend of any origin in: this server holds nothing but test data."""
    allowed = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "*, Content-Range, Location, Upload-Offset",
    }
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        allowed["Access-Control-Allow-Methods"] = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
        asked = request.headers.get("Access-Control-Request-Headers", "*")
        allowed["Access-Control-Allow-Headers"] = asked
        allowed["Access-Control-Max-Age"] = "86400"
        return web.Response(status=204, headers=allowed)
    try:
        response = await handler(request)
    except web.HTTPException as answer:
        answer.headers.update(allowed)
        raise
    if not response.prepared:
        response.headers.update(allowed)
    return response


def _kept_keys(path: Path) -> tuple[str, ApiKeys]:
    """Return the project's secret and keys, made once for a data directory."""
    if not path.exists():
        secret = secrets.token_hex(32)
        path.touch(mode=0o600)
        kept = {"jwt_secret": secret, "keys": asdict(ApiKeys.generate(secret))}
        path.write_text(json.dumps(kept, indent=2))
    kept = json.loads(path.read_text())
    return kept["jwt_secret"], ApiKeys.read(kept["keys"])
