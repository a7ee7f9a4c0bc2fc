"""One log line for a request that isn't a probe, and the id that it bears.

The line has the caller's name, the client's address, method, the route's pattern, status, seconds
and the bytes sent, head included. It never has a path as it was sent, a query, a body or a key.
Requests that do something are logged at `info`; what operators and scrapers look at, and paths that
don't exist, at `debug`.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from aiohttp import hdrs, web
from aiohttp.abc import AbstractAccessLogger

from daemon.server.auth import CALLER
from daemon.server.connections import Connection
from daemon.server.errors import Handler
from daemon.server.limits import UNCOUNTED
from daemon.server.proxies import CLIENT

_log = logging.getLogger("daemon.server.access")

REQUEST_ID_HEADER = "X-Request-Id"

REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
"""The caller's own id where he sends a usable one, else a new one."""

ROUTE: web.RequestKey[str] = web.RequestKey("route", str)
"""The pattern that has matched, such as `/jobs/{job_id}/events`; empty: none has."""

Served = Callable[[str, int, float], None]
"""Takes a request's route, its status, and the seconds that it took."""

SERVED: web.AppKey[Served] = web.AppKey("served")
"""Who counts requests."""

CLIENT_WENT = 499
"""What the log shows as status where nobody was left to answer; nginx's number for it."""

_PROBES = frozenset({"/health", "/ready"})

_USABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Longer or stranger ids are replaced: they end up in others' logs and shells."""


class AccessLog(AbstractAccessLogger):
    """Called by aiohttp when an answer has been sent."""

    @property
    def enabled(self) -> bool:
        """Say whether any line would be written."""
        return _log.isEnabledFor(logging.INFO)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line; `time` is seconds."""
        write_line(request, response.status, time, response.body_length)


@web.middleware
async def traffic(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Name the request and its route, and tell its connection when it begins and ends.

    The outermost middleware.
    """
    shown = request.headers.get(REQUEST_ID_HEADER, "")
    request[REQUEST_ID] = shown if _USABLE.fullmatch(shown) else str(uuid4())
    resource = request.match_info.route.resource
    request[ROUTE] = "" if resource is None else resource.canonical
    loop = asyncio.get_running_loop()
    began = loop.time()
    connection = request.protocol
    if isinstance(connection, Connection):
        connection.request_began()
    status = CLIENT_WENT
    try:
        response = await handler(request)
        status = response.status
        return response
    except asyncio.CancelledError:
        write_line(request, CLIENT_WENT, loop.time() - began, 0)
        raise
    finally:
        if (served := request.app.get(SERVED)) is not None:
            served(request[ROUTE], status, loop.time() - began)
        if isinstance(connection, Connection):
            connection.request_ended()


def write_line(request: web.BaseRequest, status: int, seconds: float, size: int) -> None:
    """Write one line; what never became a request of ours has none."""
    route = request.get(ROUTE)
    if route is None or route in _PROBES:
        return
    loud = route and route not in UNCOUNTED and request.method != hdrs.METH_OPTIONS
    client = request.get(CLIENT)
    fields: dict[str, Any] = {
        "caller": request.get(CALLER),
        "client": None if client is None else client.address,
        "method": request.method,
        "route": route or "-",
        "status": status,
        "seconds": round(seconds, 3),
        "bytes": size,
        "request_id": request.get(REQUEST_ID),
    }
    _log.log(logging.INFO if loud else logging.DEBUG, "request", extra={"fields": fields})
