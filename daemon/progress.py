"""Progress on its way to the rows: the latest report of each claim, written in one batch.

A report waits a moment before it is written, so that a job of a few milliseconds costs no write at
all, and a job that steps a hundred times a second costs one write per interval.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import structlog

from daemon.jobs import LeaseState, Progress
from daemon.ports import JobStore
from daemon.values import StoreRejectedError, StoreUnavailableError

_log = structlog.get_logger("daemon.progress")


@dataclass
class ProgressWriter:
    """Collects reports and writes them; what the database says of the claims goes to `told`.

    Args:
        store: where reports are written.
        told: takes the claims' states; a cancelled job is heard of here first.
        first_after_s: seconds that a first report waits.
        interval_s: seconds between two writes.
    """

    store: JobStore
    told: Callable[[Mapping[UUID, LeaseState]], None]
    first_after_s: float = 0.05
    interval_s: float = 0.5
    _waiting: dict[UUID, Progress] = field(default_factory=dict)
    _written: dict[UUID, Progress] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def report(self, progress: Progress) -> None:
        """Take a claim's latest progress; nothing happens when it says nothing new."""
        if _says_nothing_new(self._written.get(progress.claim_id), progress):
            return
        self._waiting[progress.claim_id] = progress
        self._changed.set()

    def forget(self, claim_id: UUID) -> None:
        """Drop what is waiting for a claim that has ended."""
        self._waiting.pop(claim_id, None)
        self._written.pop(claim_id, None)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(self.first_after_s)
            await self.flush()
            await asyncio.sleep(self.interval_s)

    async def flush(self) -> None:
        """Write what waits, in one call. A failed write is dropped: the next one says more."""
        self._changed.clear()
        reports, self._waiting = list(self._waiting.values()), {}
        if not reports:
            return
        for report in reports:
            self._written[report.claim_id] = report
        try:
            states = await self.store.progress(reports)
        except (StoreUnavailableError, StoreRejectedError) as error:
            _log.warning("progress not written", error=str(error), reports=len(reports))
            return
        self.told(states)


SAME_MOMENT = timedelta(seconds=1)
"""Two expected ends that lie no further apart are the same: they are computed anew each time."""


def _says_nothing_new(written: Progress | None, progress: Progress) -> bool:
    if written is None or (written.percent, written.current_step) != (
        progress.percent,
        progress.current_step,
    ):
        return False
    before, after = written.estimated_completion, progress.estimated_completion
    if before is None or after is None:
        return before is after
    return abs(after - before) <= SAME_MOMENT
