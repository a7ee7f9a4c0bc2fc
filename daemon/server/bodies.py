"""Bodies of requests, as JSON."""

import json
from http import HTTPStatus
from typing import Any

from aiohttp import web

from daemon.server.errors import ApiError
from daemon.telemetry.prompts import PROMPTS


async def json_body(request: web.Request) -> Any:
    """Return the body; raises `ApiError`."""
    try:
        body = json.loads(await request.read())
    except ValueError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, str(error)) from None
    PROMPTS.here(body)
    return body
