"""Bodies of requests: bounded before they are read, and strict JSON after.

    Content-Length above the limit   413, and nothing of the body is read
    a longer body in chunks, packed  413 as soon as the limit is passed
    not whole in time                408
    another type than JSON           415; no type at all is taken as JSON, but not
                                     from a web page
    no JSON                          400, mostly with the position: broken syntax, NaN, Infinity,
                                     numbers that no float holds, bytes that aren't UTF-8, halves of
                                     surrogate pairs
    nested too deep                  400, before anything recurses into it

Of a key that stands twice in an object the last one counts, as JSON's users expect.
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Middleware

from daemon.server.errors import ApiError, Handler
from daemon.telemetry.prompts import PROMPTS

DEEPEST = 64
"""Levels of arrays and objects. No request of ours needs ten, and code that walks values by
recursion can rely on it."""

_LONE_SURROGATE = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|[c-fC-F][0-9a-fA-F]{2})"
)
"""The first half of a pair without the second; or a second half, which is searched for only where
the decoder has found something wrong."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bytes, and seconds until the last of them."""

    max_bytes: int
    timeout_s: float


BODY_LIMITS: web.AppKey[BodyLimits] = web.AppKey("body_limits", BodyLimits)


def body_limit(limits: BodyLimits) -> Middleware:
    """Return a middleware that refuses what says itself that it is too long."""

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        if (request.content_length or 0) > limits.max_bytes:
            raise web.HTTPRequestEntityTooLarge(limits.max_bytes)
        expected = request.headers.get(hdrs.EXPECT)
        if expected is not None and expected.lower() != "100-continue":
            message = f"unknown expectation: {expected[:50]}"
            raise ApiError(HTTPStatus.EXPECTATION_FAILED, message)
        return await handler(request)

    return refuse


async def expect_nothing_yet(_: web.Request) -> None:
    """Leave `Expect: 100-continue` open until `json_body` wants the body; a route's handler of it.

    A caller who waits for leave then learns that his key is wrong, or his body too long, before he
    has sent it.
    """


async def json_body(request: web.Request) -> Any:
    """Return what the request's body says.

    Raises:
        ApiError: 400, 408 or 415, see above.
        web.HTTPRequestEntityTooLarge: the body is longer than `server.max_body_bytes`.
    """
    _check_type(request)
    timeout_s = request.app[BODY_LIMITS].timeout_s
    try:
        async with asyncio.timeout(timeout_s):
            await _say_continue(request)
            body = await request.read()
    except TimeoutError:
        message = f"the body has not come within {timeout_s:g} s"
        raise ApiError(HTTPStatus.REQUEST_TIMEOUT, message) from None
    except web.RequestPayloadError:
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body is broken: its length or coding") from None
    value = decoded(body)
    PROMPTS.here(value)
    return value


def decoded(body: bytes) -> Any:
    """Return the value of a JSON text; pure.

    Raises:
        ApiError: 400, with the byte at which it stops being JSON where that is known.
    """
    if not body:
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body is empty, not JSON")
    try:
        body.decode()
        value = msgspec.json.decode(body)
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8 (byte {error.start})"
        raise ApiError(HTTPStatus.BAD_REQUEST, message) from None
    except msgspec.DecodeError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, _explained(body, str(error))) from None
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value)
    return value


def _check_type(request: web.Request) -> None:
    # A web page may send a body without a type to anybody, unasked; one with JSON's only after a
    # preflight. Without a key that is all that stands between it and this worker.
    if hdrs.CONTENT_TYPE not in request.headers and hdrs.ORIGIN not in request.headers:
        return
    kind = request.content_type
    is_json = kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )
    if not is_json or (request.charset or "utf-8").lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json in UTF-8"
        )


async def _say_continue(request: web.Request) -> None:
    if hdrs.EXPECT in request.headers and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # As aiohttp's own handler does: the answer itself hasn't begun.
        request.writer.output_size = 0


def _check_depth(value: Any) -> None:
    """Look at one level after the other, so that depth costs no stack."""
    level = _containers([value])
    for _ in range(DEEPEST):
        if not level:
            return
        level = [
            below
            for each in level
            for below in _containers(each.values() if isinstance(each, dict) else each)
        ]
    if level:
        raise _too_deep()


def _containers(values: Iterable[Any]) -> list[dict[str, Any] | list[Any]]:
    return [each for each in values if isinstance(each, (dict, list))]


def _too_deep() -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, f"the body is nested deeper than {DEEPEST} levels")


def _explained(body: bytes, error: str) -> str:
    """Return the decoder's words, with a position where it names none."""
    if "(byte " not in error:
        if half := _LONE_SURROGATE.search(body):
            error = f"half of a surrogate pair (byte {half.start()})"
        elif "truncated" in error:
            error = f"it ends too early (byte {len(body)})"
    return f"the body is no JSON: {error.removeprefix('JSON is malformed: ')}"
