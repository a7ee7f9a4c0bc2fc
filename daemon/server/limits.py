"""How much one caller may ask for: requests a minute, and requests at the same time.

Callers are told apart by the name of their key. Probes, metrics and status never count; requests
that only read count for the minute and not for the other. Off unless `server.limits` says more:
what the worker has room for is the scheduler's to say, with 503.
"""

from collections.abc import Callable
from http import HTTPStatus
from math import ceil

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from daemon.sections import ServerLimits
from daemon.server.auth import CALLER
from daemon.server.errors import ApiError, Handler
from daemon.server.rates import Bucket

UNCOUNTED = frozenset({"/health", "/ready", "/metrics", "/status", "/worker/info"})

_READING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})

BUSY_RETRY_S = 1
"""What a caller with too many requests at the same time is told to wait: one may end any moment."""


class _Caller:
    """One caller's book."""

    def __init__(self, per_minute: float | None, concurrent: int | None, now: float) -> None:
        self.bucket = None if per_minute is None else Bucket(per_minute, now)
        self.concurrent = concurrent
        self.running = 0


class Limits:
    """The books of all callers; as many as there are keys. `clock` gives monotonic seconds."""

    def __init__(self, settings: ServerLimits, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._callers: dict[str, _Caller] = {}

    def middleware(self) -> Middleware:
        """Return what refuses requests beyond the limits. Needs `CALLER` on the request."""

        @web.middleware
        async def limit(request: web.Request, handler: Handler) -> web.StreamResponse:
            name = request.get(CALLER)
            if name is None or request.path in UNCOUNTED:
                return await handler(request)
            caller = self._of(name)
            self._take(caller)
            if request.method in _READING:
                return await handler(request)
            if caller.concurrent is not None and caller.running >= caller.concurrent:
                raise _too_many(
                    f"{caller.concurrent} requests of this key are being answered", BUSY_RETRY_S
                )
            caller.running += 1
            try:
                return await handler(request)
            finally:
                caller.running -= 1

        return limit

    def headers(self, request: web.BaseRequest) -> dict[str, str]:
        """Return the fields of the IETF's RateLimit draft for an answer; none without a limit."""
        name = request.get(CALLER)
        bucket = None if name is None else self._of(name).bucket
        if bucket is None or request.path in UNCOUNTED:
            return {}
        return {
            "RateLimit-Policy": f'"minute";q={int(bucket.capacity)};w=60',
            "RateLimit": f'"minute";r={bucket.left()};t={ceil(bucket.full_in())}',
        }

    def _take(self, caller: _Caller) -> None:
        if caller.bucket is None:
            return
        if (wait := caller.bucket.take(self._clock())) > 0:
            per_minute = f"{caller.bucket.capacity:g}"
            raise _too_many(f"this key may ask {per_minute} times a minute", ceil(wait))

    def _of(self, name: str) -> _Caller:
        if name not in self._callers:
            own = self._settings.of(name)
            self._callers[name] = _Caller(own.requests_per_minute, own.concurrent, self._clock())
        return self._callers[name]


def _too_many(error: str, retry_after: int) -> ApiError:
    return ApiError(
        HTTPStatus.TOO_MANY_REQUESTS, error, headers={hdrs.RETRY_AFTER: str(max(1, retry_after))}
    )
