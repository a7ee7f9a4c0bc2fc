"""A store that is watched: each call is timed and counted, whoever makes it."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from daemon.job_rows import JobRow, NewJob, Submitted
from daemon.jobs import Finish, Job, LeaseState, Progress, Recorded
from daemon.ports import Database
from daemon.values import (
    Backlog,
    Canary,
    Demand,
    QueueForecast,
    StoreRejectedError,
    StoreUnavailableError,
    SweepResult,
    WorkerIdentity,
)

Answer = TypeVar("Answer")

CallSeen = Callable[[str, float, str | None], None]
"""Takes a call's name, its seconds, and `unavailable`, `rejected` or None."""


@dataclass
class StoreHealth:
    """When the database last answered or failed, in monotonic seconds, and how often."""

    last_ok: float | None = None
    last_failure: float | None = None
    last_error: str | None = None
    calls: int = 0
    errors: int = 0

    @property
    def failing(self) -> bool:
        """Whether the last call failed."""
        return self.last_failure is not None and (self.last_ok or 0) < self.last_failure


@dataclass
class ObservedStore:
    """Passes every call on to `store`, and tells `seen` how it went."""

    store: Database
    seen: CallSeen
    health: StoreHealth = field(default_factory=StoreHealth)
    clock: Callable[[], float] = time.monotonic

    async def check_schema(self) -> None:
        """See `JobStore.check_schema`."""
        await self._watched("check_schema", self.store.check_schema())

    async def claim(
        self, worker: WorkerIdentity, request_id: UUID, demands: Sequence[Demand], lease_s: float
    ) -> list[Job]:
        """See `JobStore.claim`."""
        call = self.store.claim(worker, request_id, demands, lease_s)
        return await self._watched("claim", call)

    async def renew(self, claims: Sequence[UUID], lease_s: float) -> dict[UUID, LeaseState]:
        """See `JobStore.renew`."""
        return await self._watched("renew", self.store.renew(claims, lease_s))

    async def progress(self, reports: Sequence[Progress]) -> dict[UUID, LeaseState]:
        """See `JobStore.progress`."""
        return await self._watched("progress", self.store.progress(reports))

    async def finish(self, finishes: Sequence[Finish]) -> dict[UUID, Recorded]:
        """See `JobStore.finish`."""
        return await self._watched("finish", self.store.finish(finishes))

    async def sweep(self, worker: WorkerIdentity, *, predecessor: bool = False) -> SweepResult:
        """See `JobStore.sweep`."""
        return await self._watched("sweep", self.store.sweep(worker, predecessor=predecessor))

    async def beat_canary(self, min_age_s: float) -> Canary:
        """See `JobStore.beat_canary`."""
        return await self._watched("beat_canary", self.store.beat_canary(min_age_s))

    async def queue_summary(self) -> list[Backlog]:
        """See `JobStore.queue_summary`."""
        return await self._watched("queue_summary", self.store.queue_summary())

    async def charge(self, seconds: Mapping[UUID, float]) -> None:
        """See `JobStore.charge`."""
        await self._watched("charge", self.store.charge(seconds))

    async def foretell(
        self, worker_id: str, forecasts: Sequence[QueueForecast], limit: int, every_s: float
    ) -> int:
        """See `JobStore.foretell`."""
        call = self.store.foretell(worker_id, forecasts, limit, every_s)
        return await self._watched("foretell", call)

    async def submit(self, job: NewJob) -> Submitted:
        """See `JobDesk.submit`."""
        return await self._watched("submit", self.store.submit(job))

    async def look(self, job_ids: Sequence[UUID]) -> dict[UUID, JobRow]:
        """See `JobDesk.look`."""
        return await self._watched("look", self.store.look(job_ids))

    async def cancel(self, job_id: UUID) -> str | None:
        """See `JobDesk.cancel`."""
        return await self._watched("cancel", self.store.cancel(job_id))

    async def aclose(self) -> None:
        """See `JobStore.aclose`."""
        await self.store.aclose()

    async def _watched(self, name: str, call: Awaitable[Answer]) -> Answer:
        """Wait for the answer. A call that is broken off says nothing of the database."""
        began = self.clock()
        try:
            answer = await call
        except StoreUnavailableError as error:
            self._failed(name, began, "unavailable", error)
            raise
        except StoreRejectedError as error:
            self._failed(name, began, "rejected", error)
            raise
        self.health.calls += 1
        self.health.last_ok = now = self.clock()
        self.seen(name, now - began, None)
        return answer

    def _failed(self, name: str, began: float, how: str, error: Exception) -> None:
        health = self.health
        health.calls += 1
        health.errors += 1
        health.last_failure = now = self.clock()
        health.last_error = str(error)
        self.seen(name, now - began, how)
