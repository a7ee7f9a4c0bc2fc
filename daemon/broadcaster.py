"""What jobs show, sent to their owners through Realtime: steps, text and previews without writes.

One request at a time carries what all jobs have to say. Nothing queues: each job's journal is read
from where the last request that arrived had got to, so an outage costs steps and previews, and text
only if the job is forgotten meanwhile. No job waits for any of it.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol
from uuid import UUID

import httpx
import structlog

from daemon.broadcast_messages import encoded, messages_of
from daemon.feed import Feed
from daemon.journal import Event, Follower, Kind, Place
from daemon.outside_sections import LiveSettings

MAX_MESSAGES = 50
"""In one request: the server refuses a batch that would exceed the project's rate by itself."""

MAX_JOBS = 512
"""Jobs that are followed while nothing arrives; of more, the oldest that has ended is given up."""

FIRST_ANSWER_S = 0.5
MAX_ANSWER_S = 4.0
"""From an answer's first piece to the first message with all of it, and between later ones, each
twice as far away: who joins late is up to date by then, and nothing asks Realtime to replay."""

MAX_PAUSE_S = 30.0
"""Between two tries while the server takes nothing."""

LAST_S = 2.0
"""How long the last words may take when the worker stops."""

_UNFIT = frozenset({HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY})
"""The same request would be refused for ever."""

_log = structlog.get_logger("daemon.broadcaster")


class Endpoint(Protocol):
    """Where requests go."""

    async def post(self, body: bytes) -> None:
        """Send messages; raises `httpx.HTTPError`."""
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...


class BroadcastEvents(Protocol):
    """Hears what becomes of messages, for metrics."""

    def sent(self, count: int) -> None:
        """Take messages that the server accepted."""
        ...

    def failed(self) -> None:
        """Take a request that failed."""
        ...

    def dropped(self, count: int) -> None:
        """Take messages, or jobs' last events, that won't be sent."""
        ...


@dataclass
class Broadcaster:
    """Follows every job of the feed. A service.

    Args:
        feed: what is told.
        endpoint: where requests go; closed at the end.
        settings: how often, how much.
        events: hears what becomes of it.
        clock: monotonic seconds.
        sleep: waits for seconds.
    """

    feed: Feed
    endpoint: Endpoint
    settings: LiveSettings
    events: BroadcastEvents
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _followers: dict[UUID, Follower] = field(default_factory=dict)
    _news: dict[UUID, None] = field(default_factory=dict)
    """The jobs that have something to say, in the order in which they had it."""
    _answers: dict[UUID, tuple[float, float]] = field(default_factory=dict)
    """When a job's whole answer is sent again, and how long it was waited for."""
    _some: asyncio.Event = field(default_factory=asyncio.Event)
    _failures: int = 0
    """In a row."""

    def __post_init__(self) -> None:
        self.feed.opened = self._follow

    async def run(self) -> None:
        """Send until cancelled, and then what is left."""
        try:
            while True:
                await self._some.wait()
                sent = await self.flush()
                await self.sleep(self.pause_s(sent))
        finally:
            await self._say_last_words()
            await self.endpoint.aclose()

    async def flush(self) -> int:
        """Send what is new, in one request; return how many messages it has."""
        taken: list[tuple[UUID, Follower, Place]] = []
        entries: list[dict[str, Any]] = []
        too_large = 0
        while self._news and len(entries) < MAX_MESSAGES:
            job_id = next(iter(self._news))
            del self._news[job_id]
            follower = self._followers[job_id]
            taken.append((job_id, follower, follower.place))
            found = messages_of(
                job_id,
                self._take(job_id, follower),
                previews=self.settings.previews,
                max_bytes=self.settings.max_payload_bytes,
            )
            entries += found.entries
            too_large += found.too_large
        if not self._news:
            self._some.clear()
        arrived = not entries
        try:
            arrived = arrived or await self._arrives(entries)
        finally:
            self._settle(taken, arrived=arrived)
        self.events.dropped(too_large if arrived else 0)
        return len(entries)

    def _take(self, job_id: UUID, follower: Follower) -> list[Event]:
        """Take what is new, and now and then, while an answer grows, all of it."""
        events = follower.take()
        kinds = {event.kind for event in events}
        if Kind.TEXT not in kinds or Kind.END in kinds:
            return events
        now = self.clock()
        due_at, wait_s = self._answers.setdefault(job_id, (now + FIRST_ANSWER_S, FIRST_ANSWER_S))
        if now >= due_at and (answer := follower.answer()) is not None:
            wait_s = min(2 * wait_s, MAX_ANSWER_S)
            self._answers[job_id] = now + wait_s, wait_s
            events.append(answer)
        return events

    def _settle(self, taken: Sequence[tuple[UUID, Follower, Place]], *, arrived: bool) -> None:
        """Take again what didn't arrive; leave the jobs that have nothing more to say."""
        for job_id, follower, place in taken:
            if self._followers.get(job_id) is not follower:
                continue  # Meanwhile the job was forgotten, or began again.
            if not arrived:
                follower.go_back(place)
                self._has_news(job_id)
            elif follower.over:
                self._leave(job_id)

    def pause_s(self, sent: int) -> float:
        """Return how long to wait after a request: for the rate's sake, or since it failed."""
        if self._failures:
            return min(MAX_PAUSE_S, self.settings.interval_s * 2.0 ** min(self._failures, 10))
        return max(self.settings.interval_s, sent / self.settings.messages_per_s)

    def _follow(self, job_id: UUID) -> None:
        if job_id in self._followers:
            self._leave(job_id)
        follower = self.feed.follow(job_id, wake=partial(self._has_news, job_id))
        if follower is not None:
            self._followers[job_id] = follower
            self._has_news(job_id)
        if len(self._followers) > MAX_JOBS:
            self._forget_one()

    def _forget_one(self) -> None:
        """Give up the oldest job that has ended: the server takes nothing."""
        for job_id, follower in self._followers.items():
            if follower.ends:
                self._leave(job_id)
                self.events.dropped(1)
                return

    def _leave(self, job_id: UUID) -> None:
        self._answers.pop(job_id, None)
        self._followers.pop(job_id).leave()
        self._news.pop(job_id, None)

    def _has_news(self, job_id: UUID) -> None:
        self._news[job_id] = None
        self._some.set()

    async def _arrives(self, entries: list[dict[str, Any]]) -> bool:
        """Send; return False if it may be tried again."""
        try:
            await self.endpoint.post(encoded({"messages": entries}))
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            self._fail(f"status {status}")
            if status in _UNFIT:
                self.events.dropped(len(entries))
            return status in _UNFIT
        except Exception as error:  # noqa: BLE001 -- no defect here may cost the worker its jobs
            self._fail(f"{type(error).__name__}: {error}"[:200])
            return False
        if self._failures:
            _log.info("live broadcasts arrive again", failures=self._failures)
        self._failures = 0
        self.events.sent(len(entries))
        return True

    def _fail(self, reason: str) -> None:
        """Count, and say it once until something arrives."""
        self._failures += 1
        self.events.failed()
        if self._failures == 1:
            _log.warning("live broadcasts don't arrive", error=reason)

    async def _say_last_words(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                while self._news and not self._failures:
                    await self.flush()
