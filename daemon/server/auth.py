"""Who may call: whoever shows the configured key. Probes may always ask for health."""

import hmac
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from daemon.server.errors import ApiError, Handler

_OPEN = frozenset({"/health", "/ready"})
"""Paths of load balancers and container probes, which carry no key."""


def usable_key(api_key: str | None) -> str | None:
    """Return the key to compare with, None where none is configured.

    An empty or blank value is no key: a variable that is set but empty must not become a password
    that everybody knows. Blanks around it can't be sent in a header, so they don't count.
    """
    return (api_key or "").strip() or None


def authentication(api_key: str | None) -> Middleware:
    """Return a middleware that asks for the key; without a configured one it lets all pass."""
    key = usable_key(api_key)
    expected = None if key is None else key.encode()

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if expected is None or request.path in _OPEN or _shows(request, expected):
            return await handler(request)
        raise ApiError(
            HTTPStatus.UNAUTHORIZED, "Invalid API key", headers={hdrs.WWW_AUTHENTICATE: "Bearer"}
        )

    return authenticate


def _shows(request: web.Request, expected: bytes) -> bool:
    """Compare what was sent in constant time.

    Bytes, since `compare_digest` refuses text beyond ASCII. aiohttp decodes headers as UTF-8 with
    surrogates for what isn't, and encoding the same way restores what was sent.
    """
    shown = request.headers.get("X-API-Key")
    if shown is None:
        scheme, _, credentials = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        shown = credentials.strip()
    return hmac.compare_digest(shown.encode(errors="surrogateescape"), expected)
