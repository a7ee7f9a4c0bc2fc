"""One reader of one job, wherever it is: by the live feed while it runs here, else by its row.

the feed knows the job       its events, with the feed's numbers
back in the queue, lost      by the row, until it is known here again
not known here               by the row; the feed says when it comes
`end`, or the row is gone    over
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Protocol, Self
from uuid import UUID

from daemon.job_rows import JobRow
from daemon.journal import Event, Follower, Kind
from daemon.server.desk import no_such_job
from daemon.server.errors import ApiError
from daemon.server.looks import Look, Looks
from daemon.server.row_events import news


class Followed(Protocol):
    """Where jobs can be followed live: the feed."""

    def follow(
        self, job_id: UUID, number: int = 0, wake: Callable[[], object] | None = None
    ) -> Follower | None:
        """Return a reader who has seen that event last; None: the job isn't known here."""
        ...

    def await_run(self, job_id: UUID, wake: Callable[[], object]) -> Callable[[], None]:
        """Call `wake` when the job begins to be known here; return what ends that."""
        ...

    def forget_old(self) -> None:
        """Let those go who wait for a job of which nothing has come for long."""
        ...

    def close(self) -> None:
        """Let all readers go."""
        ...


class Watching:
    """A reader of a job's events. Leaving the block ends it.

    Args:
        feed: what is told of jobs that run here.
        looks: what is told of all others.
        job_id: the job.
        number: of the last event that was seen, as the feed counts them.
    """

    def __init__(self, feed: Followed, looks: Looks, job_id: UUID, number: int = 0) -> None:
        self.changed = asyncio.Event()
        """Set when there may be something to take."""
        self.over = False
        """Whether everything was taken and nothing will come."""
        self._feed = feed
        self._looks = looks
        self._job_id = job_id
        self._wake = self.changed.set
        self._live = feed.follow(job_id, number, self._wake)
        self._unawait = feed.await_run(job_id, self._wake)
        self._look: Look | None = None
        self._seen: JobRow | None = None

    async def begin(self) -> None:
        """Return when there is something to tell.

        Raises:
            ApiError: there is no such job, or the database can't say (503).
        """
        if self._live is not None:
            return
        look = self._held_look()
        await look.looked.wait()
        if look.refusal is not None:
            raise look.refusal
        if look.row is None and self._looks.closed:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "the worker stops")
        if look.row is None:
            raise no_such_job(self._job_id)

    def take(self) -> list[Event]:
        """Return what has come since the last time, as `Follower.take` does."""
        self.changed.clear()
        events = self._of_feed()
        if self._live is not None and not self._live.paused:
            self._leave_look()
        elif not self.over:
            events += self._of_row()
        if any(event.kind is Kind.END for event in events):
            self.over = True
        return events

    def _of_feed(self) -> list[Event]:
        if self._live is None:
            # From the beginning: numbers of an earlier life don't count.
            self._live = self._feed.follow(self._job_id, 0, self._wake)
        if self._live is None:
            return []
        events = self._live.take()
        if self._live.over:
            self.over = self._live.ended
            self._live.leave()
            self._live = None
        return events

    def _of_row(self) -> list[Event]:
        look = self._held_look()
        self.over = look.over
        if look.row is None or look.over:
            return []
        events = news(self._seen, look.row)
        self._seen = look.row
        return events

    def _held_look(self) -> Look:
        if self._look is None:
            self._look = self._looks.hold(self._job_id, self._wake)
        return self._look

    def _leave_look(self) -> None:
        if self._look is not None:
            self._looks.leave(self._look, self._wake)
        self._look = self._seen = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.leave()
        self._leave_look()
        self._unawait()
