"""Each request's place in its caller's trace, for the jobs and the log lines that come of it."""

from aiohttp import web

from daemon.server.errors import Handler
from daemon.telemetry.context import INCOMING


@web.middleware
async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Note the `traceparent` header for whatever is started here."""
    # One task serves all requests of a connection: what the last one brought must go.
    token = INCOMING.set(request.headers.get("traceparent", ""))
    try:
        return await handler(request)
    finally:
        INCOMING.reset(token)
