"""Calls from web pages of other origins (CORS): none, unless `server.cors_origins` lists them.

Preflights are answered before any key is asked for: browsers send none with them. The fields of an
answer are set when it is prepared, so that errors and streams carry them too.

Keys come in headers and never in cookies, so credentials stay forbidden, and `*` gives nobody more
than he could have with a program.
"""

from collections.abc import Sequence

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from daemon.server.errors import Handler

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"

REQUEST_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, X-API-Key, X-Request-Id"
)

EXPOSED = (
    "Retry-After, Idempotency-Replayed, Location, Preference-Applied, "
    "RateLimit, RateLimit-Policy, X-Request-Id"
)

MAX_AGE_S = 600
"""How long a browser may rely on a preflight's answer."""

_PREFLIGHT = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: REQUEST_HEADERS,
    hdrs.ACCESS_CONTROL_MAX_AGE: str(MAX_AGE_S),
}


class Cors:
    """The origins that may call; empty: none, and nothing is said about it."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origins)

    def allows(self, origin: str) -> bool:
        """Say whether pages of this origin may call."""
        return "*" in self._origins or origin in self._origins

    def middleware(self) -> Middleware:
        """Return what answers preflights of allowed origins; others meet the usual refusals."""

        @web.middleware
        async def preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
            asked = hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
            if request.method != hdrs.METH_OPTIONS or not asked:
                return await handler(request)
            if not self.allows(request.headers.get(hdrs.ORIGIN, "")):
                return await handler(request)
            return web.Response(status=204, headers=_PREFLIGHT)

        return preflight

    def headers(self, request: web.BaseRequest) -> dict[str, str]:
        """Return the fields for an answer to this request."""
        if not self._origins:
            return {}
        # Also without an origin: a cache must not give this answer to a page of an allowed one.
        fields: dict[str, str] = {hdrs.VARY: hdrs.ORIGIN}
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and self.allows(origin):
            fields[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*" if "*" in self._origins else origin
            fields[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED
        return fields
