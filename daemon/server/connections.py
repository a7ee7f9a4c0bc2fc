"""One client's connection, with bounds on what a slow or broken one may hold.

    headers     whole within `header_timeout_s` of connecting, later of their first byte
    idle        `keepalive_s` between an answer and the next request
    writing     `WRITE_S` in which the client takes nothing of what is sent to it
    how many    `most`; of more, the new one is closed before anything is read

aiohttp bounds the idle time alone, headers that trickle in included. So this adds to its protocol
what its public methods tell: bytes that come, the transport that is full, requests that begin and
end (by `access.traffic`). What isn't HTTP at all is answered in the one shape too.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from aiohttp import hdrs, web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from daemon.server.errors import SERVER_NAME, error_response

_log = logging.getLogger("daemon.server")

WRITE_S = 30.0

LINGER_S = 2.0
"""How long the rest of a refused body is read and dropped, so that its sender sees the answer
rather than a connection that is reset."""

CallLater = Callable[[float, Callable[[], object]], asyncio.TimerHandle]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """See above; seconds. `call_later` is the loop's, unless a test stands in for the clock."""

    header_timeout_s: float = 10.0
    keepalive_s: float = 75.0
    most: int = 1024
    call_later: CallLater | None = None


class Connections:
    """Makes the protocol of each connection, and counts them."""

    def __init__(
        self,
        server: web.Server,
        limits: ConnectionLimits,
        access_log_class: type[AbstractAccessLogger],
    ) -> None:
        self._server = server
        self._access_log_class = access_log_class
        self._loop = asyncio.get_running_loop()
        self.limits = limits
        self.call_later: CallLater = limits.call_later or self._loop.call_later
        self.open: set[Connection] = set()

    def __call__(self) -> "Connection":
        """Return the protocol of a new connection."""
        return Connection(
            self,
            self._server,
            loop=self._loop,
            keepalive_timeout=self.limits.keepalive_s,
            lingering_time=LINGER_S,
            access_log_class=self._access_log_class,
            access_log=_log,
        )


class Connection(web.RequestHandler):
    """aiohttp's protocol with deadlines."""

    __slots__ = ("_connections", "_header_deadline", "_running", "_write_deadline")

    def __init__(self, connections: Connections, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._connections = connections
        self._running = 0
        self._header_deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless there are too many already."""
        if len(self._connections.open) >= self._connections.limits.most:
            cast("asyncio.Transport", transport).abort()
            return
        self._connections.open.add(self)
        self._await_headers()
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of everything; a handler that still runs is cancelled."""
        self._connections.open.discard(self)
        self._disarm()
        if self._write_deadline is not None:
            self._write_deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the first of a request starts the clock of its headers."""
        # aiohttp calls this itself, without bytes, to go on with what it has put aside.
        if data and not self._running:
            self._await_headers()
        super().data_received(data)

    def request_began(self) -> None:
        """Note that headers are whole."""
        self._running += 1
        self._disarm()

    def request_ended(self) -> None:
        """Note that a request is answered but for its last bytes."""
        self._running -= 1

    def pause_writing(self) -> None:
        """Note that the client doesn't take what is sent to it."""
        super().pause_writing()
        self._write_deadline = self._connections.call_later(WRITE_S, self._stalled)

    def resume_writing(self) -> None:
        """Note that it does again."""
        super().resume_writing()
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what isn't HTTP, or failed outside of every handler, in the one shape.

        Of strangers' bytes nothing is logged or sent back: a key may be among them.

        Raises:
            ConnectionError: an answer has begun; all that is left is to break it off.
        """
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if isinstance(exc, LineTooLong):
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            error = "the request line or a header is too long"
        elif isinstance(exc, HttpProcessingError):
            error = "this is no HTTP request that can be understood"
        else:
            _log.error("a request failed outside of its handler", exc_info=exc)
            error = "the worker failed to answer"
        response = error_response(status, error)
        response.headers[hdrs.SERVER] = SERVER_NAME
        response.force_close()
        return response

    def _await_headers(self) -> None:
        if self._header_deadline is None:
            self._header_deadline = self._connections.call_later(
                self._connections.limits.header_timeout_s, self._headers_late
            )

    def _disarm(self) -> None:
        if self._header_deadline is not None:
            self._header_deadline.cancel()
            self._header_deadline = None

    def _headers_late(self) -> None:
        self._header_deadline = None
        self.force_close()

    def _stalled(self) -> None:
        self._write_deadline = None
        if self.transport is not None:
            self.transport.abort()
