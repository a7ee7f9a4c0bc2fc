"""`GET /jobs/{id}/events`: what a job shows while it runs, as server-sent events.

While the job runs on this worker its stream is live, and an event's `id` is its number: a client
that comes back with `Last-Event-ID` gets what he missed, as long as the job is known here. A job
that waits, has ended or runs on another worker is followed by its row; these events have the id 0,
and whoever comes back after one is told how the job stands. The stream ends after `end`; without
one, when the row is removed or this worker stops.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web

from daemon.journal import Event
from daemon.server.desk import job_id_of
from daemon.server.errors import ApiError
from daemon.server.looks import Looks
from daemon.server.streaming import HEADERS, HEARTBEAT_S, write
from daemon.server.watching import Followed, Watching

RETRY_MS = 2000
"""When a client whose connection broke shall come back, milliseconds."""

MAX_STREAMS = 1000
"""Streams at once; of more, the next one is refused."""

RETRY_AFTER_S = 5
"""What such a client is told to wait."""


class EventStreams:
    """The streams of all clients.

    Args:
        feed: what is told of jobs that run here.
        looks: what is told of all others.
        heartbeat_s: seconds between two comments while nothing comes.
        counted: told how many streams there are, at each change.
    """

    def __init__(
        self,
        feed: Followed,
        looks: Looks,
        *,
        heartbeat_s: float = HEARTBEAT_S,
        counted: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._feed = feed
        self._looks = looks
        self._heartbeat_s = heartbeat_s
        self._counted = counted
        self._open = 0

    def routes(self) -> list[web.RouteDef]:
        """Return what is served."""
        return [web.get("/jobs/{job_id}/events", self.events, allow_head=False)]

    async def stop(self, _: web.Application) -> None:
        """End all streams, so that the server needn't wait for them; for `on_shutdown`."""
        self._feed.close()
        await self._looks.stop()

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Answer with the job's events as they come."""
        number = _last_event_id(request)
        if self._open >= MAX_STREAMS:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too many clients watch jobs here",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            )
        self._open += 1
        self._counted(self._open)
        try:
            with Watching(self._feed, self._looks, job_id_of(request), number) as watching:
                await watching.begin()
                return await self._stream(request, watching)
        finally:
            self._open -= 1
            self._counted(self._open)

    async def _stream(self, request: web.Request, watching: Watching) -> web.StreamResponse:
        response = web.StreamResponse(headers=HEADERS)
        with contextlib.suppress(ConnectionError, TimeoutError):
            await response.prepare(request)
            await write(response, f"retry: {RETRY_MS}\n\n".encode())
            await self._tell(response, watching)
        return response

    async def _tell(self, response: web.StreamResponse, watching: Watching) -> None:
        while True:
            if events := watching.take():
                await write(response, b"".join(map(frame, events)))
            if watching.over:
                await response.write_eof()
                return
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await watching.changed.wait()
            except TimeoutError:
                await write(response, b":\n\n")
                self._feed.forget_old()


def frame(event: Event) -> bytes:
    """Return an event as it is sent."""
    data = json.dumps(event.as_json(), ensure_ascii=False, separators=(",", ":"))
    # A lone half of a surrogate pair can't be encoded; a model may say one all the same.
    lines = f"id: {event.number}\nevent: {event.kind.value}\ndata: {data}\n\n"
    return lines.encode(errors="replace")


def _last_event_id(request: web.Request) -> int:
    """Return the number of the last event that the client has; the header is the newer one."""
    said = (request.headers.get("Last-Event-ID"), request.query.get("last_event_id"))
    numbers = [_number_of(each) for each in said if each]
    return numbers[0] if numbers else 0


def _number_of(said: str) -> int:
    if not (said.isascii() and said.isdigit()) or len(said) > len(str(2**53)):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the last event id is no number: {said[:50]}")
    return int(said)
