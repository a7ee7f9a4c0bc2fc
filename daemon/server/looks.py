"""Looks at the rows of jobs that somebody follows: all of them in one call, once a second.

A job that is new among them is looked at without delay. However many clients follow a job, it is
looked at once; and when nobody follows any, nothing is asked.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Protocol
from uuid import UUID

from daemon.job_rows import JobRow
from daemon.server.errors import ApiError

_log = logging.getLogger("daemon.server")

INTERVAL_S = 1.0
"""Between two looks."""


class Rows(Protocol):
    """Where rows can be looked at: the desk."""

    async def look(self, job_ids: Sequence[UUID]) -> dict[UUID, JobRow]:
        """Return those that exist; raises `ApiError`."""
        ...


class Look:
    """What is known of one job's row."""

    def __init__(self, job_id: UUID) -> None:
        self.job_id = job_id
        self.row: JobRow | None = None
        self.refusal: ApiError | None = None
        """Why nothing is known of the row yet."""
        self.over = False
        """There is no such row, or nobody looks any more."""
        self.looked = asyncio.Event()
        """Set when there is a row, a refusal, or nothing to wait for."""
        self.wakes: tuple[Callable[[], object], ...] = ()

    def seen(self, row: JobRow | None) -> None:
        """Take the row as it is now; None: it isn't there."""
        changed = row != self.row
        self.refusal, self.over = None, row is None
        if row is not None:
            self.row = row
        self._tell(changed=changed)

    def refused(self, refusal: ApiError) -> None:
        """Take that it couldn't be looked at: what is known stays."""
        if self.row is None:
            self.refusal = refusal
        self._tell(changed=False)

    def close(self) -> None:
        """Say that nobody looks any more."""
        self.over = True
        self._tell(changed=True)

    def _tell(self, *, changed: bool) -> None:
        self.looked.set()
        if changed:
            for wake in self.wakes:
                wake()


class Looks:
    """All jobs that are followed by their rows.

    Args:
        rows: where they are looked at.
        interval_s: seconds between two looks.
    """

    def __init__(self, rows: Rows, *, interval_s: float = INTERVAL_S) -> None:
        self._rows = rows
        self._interval_s = interval_s
        self._looks: dict[UUID, Look] = {}
        self._wanted = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nobody looks any more."""
        return self._closed

    def hold(self, job_id: UUID, wake: Callable[[], object]) -> Look:
        """Follow a job from now on; `wake` is called at each change."""
        look = self._looks.get(job_id)
        if look is None:
            look = Look(job_id)
            if self._closed:
                look.close()
                return look
            self._looks[job_id] = look
            self._wanted.set()
        look.wakes += (wake,)
        if self._looking is None:
            self._looking = asyncio.create_task(self._run(), name="look at rows")
        return look

    def leave(self, look: Look, wake: Callable[[], object]) -> None:
        """Follow no more."""
        look.wakes = tuple(each for each in look.wakes if each != wake)
        if not look.wakes and self._looks.get(look.job_id) is look:
            del self._looks[look.job_id]

    async def stop(self) -> None:
        """Let all go, also those who still come."""
        self._closed = True
        looks, self._looks = list(self._looks.values()), {}
        for look in looks:
            look.close()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    async def _run(self) -> None:
        """Look for as long as anybody follows."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self._looks:
            self._wanted.clear()
            if loop.time() >= due:
                due = loop.time() + self._interval_s
                await self._look_at(list(self._looks.values()))
            else:
                await self._look_at([each for each in self._looks.values() if not _known(each)])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._wanted.wait()
        self._looking = None

    async def _look_at(self, looks: Sequence[Look]) -> None:
        if not looks:
            return
        try:
            found = await self._rows.look([look.job_id for look in looks])
        except ApiError as error:
            for look in looks:
                look.refused(error)
        except Exception:  # noqa: BLE001 -- a defect must not leave readers without an answer
            _log.exception("rows can't be looked at")
            refusal = ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "the worker failed to answer")
            for look in looks:
                look.refused(refusal)
        else:
            for look in looks:
                look.seen(found.get(look.job_id))


def _known(look: Look) -> bool:
    return look.looked.is_set()
