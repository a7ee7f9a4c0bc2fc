"""What stands before every route: built once from the settings, in one order.

traffic       request id, log line; told to the connection
client        who calls, through trusted proxies
errors        the one shape of failures
cors          preflights
auth          the caller's key
body limit    what says itself that it is too long
limits        how much this caller may ask for
"""

import time
from collections.abc import Callable, Sequence

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from daemon.sections import ServerSettings
from daemon.server.access import REQUEST_ID, REQUEST_ID_HEADER, SERVED, Served, traffic
from daemon.server.auth import authentication
from daemon.server.bodies import BODY_LIMITS, BodyLimits, body_limit
from daemon.server.cors import Cors
from daemon.server.errors import SERVER_NAME, errors
from daemon.server.keys import KeyRing
from daemon.server.limits import Limits
from daemon.server.proxies import Proxies, client_middleware
from daemon.server.strangers import Strangers


class Protection:
    """The server's settings at work.

    Args:
        settings: of the server.
        keys: by default those of the settings.
        clock: monotonic seconds.
        served: counts requests.

    Raises:
        SettingsError: the file of keys can't be used.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        keys: KeyRing | None = None,
        clock: Callable[[], float] = time.monotonic,
        served: Served | None = None,
    ) -> None:
        self.keys = keys or KeyRing.of(settings)
        self.body_limits = BodyLimits(settings.max_body_bytes, settings.body_timeout_s)
        self._proxies = Proxies(settings.trusted_proxies)
        self._strangers = Strangers(clock)
        self._limits = Limits(settings.limits, clock)
        self._cors = Cors(settings.cors_origins)
        self._served = served

    def middlewares(self) -> Sequence[Middleware]:
        """Return them, the outermost first."""
        return (
            traffic,
            client_middleware(self._proxies),
            errors,
            self._cors.middleware(),
            authentication(self.keys, self._strangers),
            body_limit(self.body_limits),
            self._limits.middleware(),
        )

    def attach(self, app: web.Application) -> None:
        """Give the application what isn't a middleware."""
        app[BODY_LIMITS] = self.body_limits
        if self._served is not None:
            app[SERVED] = self._served
        app.on_response_prepare.append(self._stamp)
        app.cleanup_ctx.append(self.keys.watching)

    async def _stamp(self, request: web.Request, response: web.StreamResponse) -> None:
        """Set what every answer bears, streams and errors too."""
        headers = response.headers
        headers[hdrs.SERVER] = SERVER_NAME
        headers["X-Content-Type-Options"] = "nosniff"
        if REQUEST_ID in request:
            headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
        headers.update(self._limits.headers(request))
        headers.update(self._cors.headers(request))
