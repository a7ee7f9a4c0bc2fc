"""Who may call: whoever shows one of the keys. Probes may always ask for health."""

from http import HTTPStatus
from math import ceil

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from daemon.server.errors import ApiError, Handler
from daemon.server.keys import KeyRing
from daemon.server.proxies import CLIENT
from daemon.server.strangers import Strangers

CALLER: web.RequestKey[str] = web.RequestKey("caller", str)
"""The name of the key that the caller has shown; `ANONYMOUS` where none is asked for, and absent
on the open paths. Made for limits, fairness and logs: it is never the key."""

ANONYMOUS = "anonymous"

_OPEN = frozenset({"/health", "/ready", "/chat/health", "/openapi.json", "/docs"})
"""Paths of load balancers and container probes, which carry no key, and what all may read."""


def authentication(keys: KeyRing, strangers: Strangers) -> Middleware:
    """Return a middleware that asks for a key; where none is configured it lets all pass."""

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in _OPEN:
            request[CALLER] = _caller(request, keys, strangers) if keys.required else ANONYMOUS
        return await handler(request)

    return authenticate


def _caller(request: web.Request, keys: KeyRing, strangers: Strangers) -> str:
    shown = _shown(request)
    if shown is None:
        raise _refusal()
    address = request[CLIENT].address
    if (wait := strangers.wait(address)) > 0:
        raise ApiError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too many wrong API keys came from this address",
            headers={hdrs.RETRY_AFTER: str(ceil(wait))},
        )
    name = keys.name_of(shown)
    if name is None:
        strangers.wrong(address)
        raise _refusal()
    strangers.right(address)
    return name


def _refusal() -> ApiError:
    return ApiError(
        HTTPStatus.UNAUTHORIZED, "Invalid API key", headers={hdrs.WWW_AUTHENTICATE: "Bearer"}
    )


def _shown(request: web.Request) -> bytes | None:
    """Return the key as it was sent.

    Bytes, since a header needn't be text. aiohttp decodes headers as UTF-8 with surrogates for
    what isn't, and encoding the same way restores what was sent.
    """
    shown = request.headers.get("X-API-Key")
    if shown is None:
        scheme, _, shown = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer":
            return None
    return shown.strip().encode(errors="surrogateescape")
