"""The application: routes of probes and operators, and the place where inference comes in."""

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs, web
from pydantic import SecretStr

from daemon.sections import ServerSettings
from daemon.server.answers import ARCHITECTURE, health_answer, info_answer, status_answer
from daemon.server.bodies import expect_nothing_yet
from daemon.server.errors import error_response
from daemon.server.protection import Protection
from daemon.server.reports import Reports
from daemon.server.tracing import traced
from daemon.telemetry.redaction import redact, redact_value

_log = logging.getLogger("daemon.server")

RETRY_AFTER_S = 5
"""What a caller is told to wait while the worker starts or drains."""

_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


def build_app(
    reports: Reports,
    *,
    api_key: str | None = None,
    protection: Protection | None = None,
    routes: Iterable[web.AbstractRouteDef] = (),
) -> web.Application:
    """Return the application.

    Args:
        reports: the daemon as it is; asked anew for every answer.
        api_key: what callers must show, where there is no `protection`; None or blank: nothing.
        protection: keys, limits and everything else that stands before the routes.
        routes: further routes, such as inference: they get all of it, and the error shape. They
            read bodies with `bodies.json_body` and know their caller as `request[auth.CALLER]`.
    """
    if protection is None:
        key = None if api_key is None else SecretStr(api_key)
        protection = Protection(ServerSettings(api_key=key))
    app = web.Application(
        middlewares=[traced, *protection.middlewares()],
        client_max_size=protection.body_limits.max_bytes,
    )
    protection.attach(app)
    probes = _Probes(reports)
    app.add_routes(
        [
            web.get("/health", probes.health),
            web.get("/ready", probes.ready),
            web.get("/status", probes.status),
            web.get("/metrics", probes.metrics),
            web.get("/worker/info", probes.info),
        ]
    )
    app.add_routes(map(_patient, routes))
    return app


def _patient(route: web.AbstractRouteDef) -> web.AbstractRouteDef:
    """Return the route, leaving `Expect: 100-continue` to who reads the body."""
    if not isinstance(route, web.RouteDef):
        return route
    options = {"expect_handler": expect_nothing_yet, **route.kwargs}
    return web.RouteDef(route.method, route.path, route.handler, options)


class _Probes:
    """Answers from the reports alone: no handler here awaits anything."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    async def health(self, _request: web.Request) -> web.Response:
        """Answer 200 for as long as the process lives, whatever is wrong with it."""
        try:
            body = health_answer(self._reports.health())
        except Exception as error:  # noqa: BLE001 -- a defect of any kind
            # A defect in a report must not make a probe kill a worker that has jobs to finish.
            _log.exception("health can't be told")
            body = {
                "status": "degraded",
                "architecture": ARCHITECTURE,
                "reasons": [f"health can't be told: {type(error).__name__}"],
            }
        return _json(body)

    async def ready(self, _request: web.Request) -> web.Response:
        """Answer 200 while new work is taken, else 503."""
        ready, reasons = self._reports.ready()
        reasons = [redact(reason) for reason in reasons]
        if ready:
            return _json({"ready": True, "reasons": reasons})
        response = error_response(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "; ".join(("not ready", *reasons)),
            ready=False,
            reasons=reasons,
        )
        response.headers[hdrs.RETRY_AFTER] = str(RETRY_AFTER_S)
        return response

    async def status(self, _request: web.Request) -> web.Response:
        return _json(status_answer(self._reports.status()))

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(
            body=self._reports.exposition(), headers={hdrs.CONTENT_TYPE: _EXPOSITION}
        )

    async def info(self, _request: web.Request) -> web.Response:
        return _json(info_answer(self._reports.health()))


def _json(body: dict[str, Any]) -> web.Response:
    """Answer without secrets: states and last errors come from libraries as they are."""
    response = web.json_response(redact_value(body))
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
    return response
