"""The Realtime server as a part of an aiohttp application."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self

from aiohttp import WSCloseCode, web

from devstack.realtime.authorization import PolicyAuthorizer
from devstack.realtime.connection import Connection
from devstack.realtime.faults import Faults
from devstack.realtime.feed import ChangeFeed
from devstack.realtime.frames import serializer_for
from devstack.realtime.http_broadcast import HttpBroadcast
from devstack.realtime.messages import MessageFeed
from devstack.realtime.node import Node
from devstack.realtime.rates import Clock, Limits
from devstack.realtime.settings import RealtimeSettings
from devstack.realtime.tokens import Credentials, TokenError, Verifier
from devstack.realtime.topics import Topics

_CLOSING_S = 1.0


class Realtime:
    """Serves websockets and reads the database's log; an async context manager.

    Args:
        dsn: A superuser's DSN of a database with `wal_level = logical`.
        jwt_secret: The secret that tokens are signed with.
        api_keys: Role of each opaque key (`sb_...`); keys that are tokens need no entry.
        settings: Intervals and limits.
        now: The clock that rates are taken by.
    """

    def __init__(
        self,
        dsn: str,
        jwt_secret: str,
        api_keys: Mapping[str, str],
        settings: RealtimeSettings = RealtimeSettings(),  # noqa: B008 - frozen
        now: Clock = time.monotonic,
    ) -> None:
        self.faults = Faults()
        self._dsn = dsn
        self._settings = settings
        self._now = now
        self._limits = Limits.of(settings, now)
        self._verifier = Verifier(jwt_secret, api_keys)
        self._topics = Topics()
        self._lifetime = AsyncExitStack()
        self._node: Node | None = None
        self._connections: set[Connection] = set()

    def routes(self) -> list[web.RouteDef]:
        """Return what it serves, under the paths of a hosted project."""
        broadcast = HttpBroadcast(self._verifier, self._topics, self._may_write, self._too_much)
        return [
            web.get("/realtime/v1/websocket", self._serve_socket),
            web.post("/realtime/v1/api/broadcast", broadcast.send_many),
            web.post("/realtime/v1/api/broadcast/{topic}/events/{event}", broadcast.send_one),
        ]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._lifetime.__aexit__(kind, error, traceback)

    async def start(self) -> None:
        """Serve; until then, and after `stop`, handshakes are answered 503."""
        async with AsyncExitStack() as lifetime:
            self._limits = Limits.of(self._settings, self._now)
            feed = ChangeFeed(self._dsn, self._settings, self.faults, self._limits.changes)
            await lifetime.enter_async_context(feed)
            messages = MessageFeed(
                self._dsn, self._settings, self.faults, self._topics, self._limits.messages
            )
            self._node = self._build(feed, messages)
            tasks = await lifetime.enter_async_context(asyncio.TaskGroup())
            for reading in (feed.run(), messages.run()):
                lifetime.callback(tasks.create_task(reading).cancel)
            lifetime.push_async_callback(self.close_sockets)
            self._lifetime = lifetime.pop_all()

    async def stop(self, code: int | None = WSCloseCode.SERVICE_RESTART) -> None:
        """Stop for a while, as a process that ends; the faults stay as they are.

        Args:
            code: What sockets are closed with; None drops them without a word, as SIGKILL does.
        """
        self._node = None
        self.faults.drop_all(code)
        await self._lifetime.aclose()

    def _build(self, feed: ChangeFeed, messages: MessageFeed) -> Node:
        return Node(
            settings=self._settings,
            faults=self.faults,
            verifier=self._verifier,
            authorizer=PolicyAuthorizer(feed.pool),
            topics=self._topics,
            feed=feed,
            messages=messages,
            pool=feed.pool,
            limits=self._limits,
        )

    async def _may_write(self, sub_topic: str, who: Credentials) -> bool:
        return self._node is not None and await self._node.authorizer.may_write(sub_topic, who)

    def _too_much(self, count: int, size: int) -> int | None:
        """Return the HTTP status that says why so many messages, the largest so large, can't go."""
        if size > self._settings.max_broadcast_bytes:
            return 422
        if self._limits.messages.exceeded:
            return 429
        self._limits.messages.add(count)
        return None

    def give_up(self) -> None:
        """Forget every subscription and tell nobody, as when the poller has given up.

        Channels stay joined. One that joins anew, or gets a fresh token, hears again.
        """
        if self._node is not None:
            self._node.feed.forget_all()

    def hand_over(self) -> None:
        """Go deaf as when the project is moved to another region.

        Changes as in `give_up`; messages of the database until anybody joins any channel.
        """
        self.give_up()
        self.faults.deaf_until_join = True

    async def close_sockets(self, _: web.Application | None = None) -> None:
        """Close every socket with 1012, as the real server does on SIGTERM; let in no others.

        For an application's `on_shutdown`: aiohttp would wait for the sockets and then drop them.
        """
        self._node = None
        self.faults.drop_all(WSCloseCode.SERVICE_RESTART)
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * _CLOSING_S):
                for connection in list(self._connections):
                    await connection.ended.wait()
        for connection in self._connections:
            # Stalled, or its client reads nothing.
            if not connection.ended.is_set():
                connection.abort()

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        node = self._node
        if node is None:
            raise web.HTTPServiceUnavailable
        if self.faults.refuse:
            return _refused(self.faults.refuse_status, self.faults.refuse_error)
        serializer = serializer_for(request.query.get("vsn"))
        if serializer is None:
            return web.Response(status=403)
        try:
            key = self._verifier.verify_key(
                request.query.get("apikey", request.headers.get("x-api-key"))
            )
        except TokenError as refused:
            await asyncio.sleep(self._settings.handshake_error_delay_s)
            return _refused(401, refused.handshake)
        if limit := self._limit_reached():
            await asyncio.sleep(self._settings.handshake_error_delay_s)
            return _refused(429, limit)
        # The real server doesn't compress, and answers no pings of its own.
        socket = web.WebSocketResponse(compress=False, max_msg_size=0, timeout=_CLOSING_S)
        await socket.prepare(request)
        connection = Connection(node, request, socket, serializer, key)
        self._connections.add(connection)
        self.faults.attach(connection)
        try:
            await connection.run()
        finally:
            self.faults.detach(connection)
            self._connections.discard(connection)
        return socket

    def _limit_reached(self) -> str | None:
        most = self._settings.max_connections
        if most is not None and len(self._connections) >= most:
            return "Too many connected users"
        return "Too many joins per second" if self._limits.joins.exceeded else None


def _refused(status: int, error: str) -> web.Response:
    return (
        web.json_response({"error": error}, status=status) if error else web.Response(status=status)
    )
