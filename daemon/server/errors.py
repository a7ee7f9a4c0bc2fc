"""The one shape in which an HTTP request fails: `{"success": false, "error", "error_code"}`.

Codes of jobs are `daemon.jobs.ErrorCode`. A request can also fail before there is a job:

    BAD_REQUEST           400  the request can't be understood
    UNAUTHORIZED          401  the key is missing or wrong
    NOT_FOUND             404  no such path, or no such job
    METHOD_NOT_ALLOWED    405  the path exists, the method doesn't; `Allow` lists them
    CONFLICT              409  the request with this idempotency key is still under way
    PAYLOAD_TOO_LARGE     413  the body is larger than the server takes
    UNPROCESSABLE         422  the idempotency key was used for another request
    NOT_READY             503  starting, draining or full; `Retry-After` says when to come back
    INTERNAL_ERROR        500  a defect of the worker; the log has the traceback, the answer hasn't
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs, web

_log = logging.getLogger("daemon.server")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CODES: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "UNAUTHORIZED",
    HTTPStatus.NOT_FOUND: "NOT_FOUND",
    HTTPStatus.METHOD_NOT_ALLOWED: "METHOD_NOT_ALLOWED",
    HTTPStatus.CONFLICT: "CONFLICT",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "PAYLOAD_TOO_LARGE",
    HTTPStatus.UNPROCESSABLE_ENTITY: "UNPROCESSABLE",
    HTTPStatus.SERVICE_UNAVAILABLE: "NOT_READY",
}

_LONGEST_PATH = 200
"""Characters of an unknown path that are repeated to its sender."""


class ApiError(Exception):
    """A request fails; `errors` turns it into the answer."""

    def __init__(
        self,
        status: HTTPStatus,
        error: str,
        error_code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.error_code = error_code or _code_of(status)
        self.headers = dict(headers or {})


def error_response(
    status: int, error: str, error_code: str | None = None, **fields: Any
) -> web.Response:
    """Return an answer in the one shape, with further fields behind it."""
    body = {"success": False, "error": error, "error_code": error_code or _code_of(status)}
    return web.json_response({**body, **fields}, status=status)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every failure the one shape. The outermost middleware."""
    try:
        return await handler(request)
    except ApiError as error:
        response = error_response(error.status, error.error, error.error_code)
        response.headers.update(error.headers)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        response = error_response(error.status, _sentence(request, error))
        if allow := error.headers.get(hdrs.ALLOW):
            response.headers[hdrs.ALLOW] = allow
    except Exception:  # noqa: BLE001 -- the last catch: a defect of any kind
        _log.exception("%s %s failed", request.method, request.path)
        response = error_response(HTTPStatus.INTERNAL_SERVER_ERROR, "the worker failed to answer")
    return response


def _sentence(request: web.Request, error: web.HTTPException) -> str:
    path = request.path[:_LONGEST_PATH]
    match error:
        case web.HTTPNotFound():
            return f"there is no {path}"
        case web.HTTPMethodNotAllowed():
            return f"{path} takes {', '.join(sorted(error.allowed_methods))}, not {error.method}"
        case web.HTTPRequestEntityTooLarge():
            return "the request's body is too large"
        case _:
            return error.reason.lower()


def _code_of(status: int) -> str:
    if status in _CODES:
        return _CODES[status]
    return "INTERNAL_ERROR" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "BAD_REQUEST"
