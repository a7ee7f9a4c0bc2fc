"""The one shape in which an HTTP request fails: `{"success": false, "error", "error_code"}`.

Codes of jobs are `daemon.jobs.ErrorCode`. A request can also fail before there is a job:

    BAD_REQUEST           400  the request can't be understood
    UNAUTHORIZED          401  the key is missing or wrong
    NOT_FOUND             404  no such path, or no such job
    METHOD_NOT_ALLOWED    405  the path exists, the method doesn't; `Allow` lists them
    REQUEST_TIMEOUT       408  the body hasn't come in time
    CONFLICT              409  the request with this idempotency key is still under way
    PAYLOAD_TOO_LARGE     413  the body is larger than the server takes
    UNSUPPORTED_MEDIA_TYPE 415 the body isn't JSON
    UNPROCESSABLE         422  the idempotency key was used for another request
    RATE_LIMITED          429  this caller asks for too much; `Retry-After` says when to come back
    NOT_READY             503  starting, draining or full; `Retry-After` says when to come back
    INTERNAL_ERROR        500  a defect of the worker; the log has the traceback, the answer hasn't
"""

import json
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
    HTTPStatus.REQUEST_TIMEOUT: "REQUEST_TIMEOUT",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "UNSUPPORTED_MEDIA_TYPE",
    HTTPStatus.TOO_MANY_REQUESTS: "RATE_LIMITED",
    HTTPStatus.CONFLICT: "CONFLICT",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "PAYLOAD_TOO_LARGE",
    HTTPStatus.UNPROCESSABLE_ENTITY: "UNPROCESSABLE",
    HTTPStatus.SERVICE_UNAVAILABLE: "NOT_READY",
}

SERVER_NAME = "ourvidz-worker"
"""The `Server` field: without versions, which would only tell what to try."""

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

    def body(self) -> dict[str, Any]:
        """Return what its sender is told, in the one shape."""
        return {"success": False, "error": self.error, "error_code": self.error_code}


def error_response(
    status: int, error: str, error_code: str | None = None, **fields: Any
) -> web.Response:
    """Return an answer in the one shape, with further fields behind it."""
    body = {"success": False, "error": error, "error_code": error_code or _code_of(status)}
    return web.json_response({**body, **fields}, status=status)


def openai_error(body: Mapping[str, Any], status: int) -> dict[str, Any]:
    """Return an error in the shape that OpenAI's clients read, with the one shape's code beside."""
    kind = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    told = {
        "message": body["error"], "type": kind, "param": None, "code": body["error_code"].lower(),
    }  # fmt: skip
    return {**body, "error": told}


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every failure the one shape, or OpenAI's under `/v1`."""
    response = await _answered(request, handler)
    if request.path.startswith("/v1/") and response.status >= HTTPStatus.BAD_REQUEST:
        return _as_openai(response)
    return response


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
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
    except Exception as error:
        transport = request.transport
        if isinstance(error, ConnectionError) and (transport is None or transport.is_closing()):
            raise  # the client has gone: nobody is left to answer
        _log.exception("%s %s failed", request.method, _route(request))
        response = error_response(HTTPStatus.INTERNAL_SERVER_ERROR, "the worker failed to answer")
    if request.writer.output_size > 0:
        raise ConnectionResetError("an answer that has begun can only be broken off")
    if not request.content.is_eof():
        # What is left of the body is not worth reading for the sake of the next request.
        response.force_close()
    return response


def _as_openai(response: web.StreamResponse) -> web.StreamResponse:
    if isinstance(response, web.Response) and response.text is not None:
        body = json.loads(response.text)
        response.text = json.dumps(openai_error(body, response.status))
    return response


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "-" if resource is None else resource.canonical


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
