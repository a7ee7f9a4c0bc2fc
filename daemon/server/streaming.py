"""An answer that is sent in pieces, as server-sent events.

Until the first piece a failure is an answer with its own status; after it, an event.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

from aiohttp import hdrs, web

from daemon.exchanges import Exchange
from daemon.server.asking import result_of
from daemon.server.errors import ApiError

HEARTBEAT_S = 15.0
"""Between two comments while nothing comes: proxies end silent connections, and a client that is
gone shows when it is written to."""

WRITE_S = 30.0
"""How long a client may take nothing of what is sent to it."""

HEADERS = {
    hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
    hdrs.CACHE_CONTROL: "no-store",
    # nginx would collect events before it passes them on.
    "X-Accel-Buffering": "no",
}


class Frames(Protocol):
    """The form of a stream's events."""

    def opening(self) -> bytes:
        """Return what comes before the first piece."""
        ...

    def piece(self, text: str) -> bytes:
        """Return a piece of the answer."""
        ...

    def end(self, result: Mapping[str, Any]) -> bytes:
        """Return what comes last."""
        ...

    def failure(self, error: ApiError) -> bytes:
        """Return what comes last when there is no result."""
        ...


class ChatFrames:
    """`delta` events with text, then `end` with what the answer without a stream would be."""

    def opening(self) -> bytes:
        """Nothing comes before the first piece."""
        return b""

    def piece(self, text: str) -> bytes:
        """Return `delta`."""
        return event({"text": text}, "delta")

    def end(self, result: Mapping[str, Any]) -> bytes:
        """Return `end`."""
        return event({"success": True, **result}, "end")

    def failure(self, error: ApiError) -> bytes:
        """Return `error`, in the one shape of errors."""
        return event(error.body(), "error")


def event(data: Mapping[str, Any] | str, kind: str | None = None) -> bytes:
    """Return an event as it is sent."""
    if not isinstance(data, str):
        data = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    named = f"event: {kind}\n" if kind else ""
    # A lone half of a surrogate pair can't be encoded; a model may say one all the same.
    return f"{named}data: {data}\n\n".encode(errors="replace")


async def stream(request: web.Request, exchange: Exchange, frames: Frames) -> web.StreamResponse:
    """Answer with the pieces as they come.

    Raises:
        ApiError: the request failed before its first piece.
    """
    await _begun(exchange)
    if exchange.outcome is not None:
        result_of(exchange.outcome)
    response = web.StreamResponse(headers=HEADERS)
    with contextlib.suppress(ConnectionError, TimeoutError):
        await response.prepare(request)
        if opening := frames.opening():
            await write(response, opening)
        await _tell(response, exchange, frames)
        await response.write_eof()
    return response


async def _begun(exchange: Exchange) -> None:
    """Wait for the first piece or the end, but not for so long that a proxy gives up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HEARTBEAT_S):
            await exchange.changed()


async def _tell(response: web.StreamResponse, exchange: Exchange, frames: Frames) -> None:
    while True:
        if text := exchange.take():
            await write(response, frames.piece(text))
        elif exchange.outcome is not None:
            break
        else:
            await _wait(response, exchange)
    try:
        last = frames.end(result_of(exchange.outcome))
    except ApiError as error:
        last = frames.failure(error)
    await write(response, last)


async def _wait(response: web.StreamResponse, exchange: Exchange) -> None:
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            await exchange.changed()
    except TimeoutError:
        await write(response, b":\n\n")


async def write(response: web.StreamResponse, data: bytes) -> None:
    """Send it; raises `TimeoutError` if the client takes nothing for `WRITE_S`."""
    async with asyncio.timeout(WRITE_S):
        await response.write(data)
