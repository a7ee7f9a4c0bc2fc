"""From a wake-up to claimed jobs: ask the scheduler for its demand, claim so many, start them.

    wait for the flag -> sweep when one is due -> demand? -> claim -> start -> again until short

No demand, no claim: that is the backpressure. A claim whose reply is lost is sent again with the
same request id, and the database gives the same jobs again.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from uuid import UUID

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_random_exponential,
)

from daemon.jobs import Job
from daemon.ports import JobStore
from daemon.restraint import Restraint
from daemon.values import (
    Demand,
    StoreRejectedError,
    StoreUnavailableError,
    SweepResult,
    WorkerIdentity,
)

Answer = TypeVar("Answer")

_ids = random.Random()  # noqa: S311  # ids must differ, nobody is kept from guessing them

MAX_BACKOFF_S = 5.0
"""Longest pause between two tries while the database is away; jittered in full."""

_log = structlog.get_logger("daemon.intake")


class JobStarter(Protocol):
    """Where claimed jobs go."""

    def room(self) -> int:
        """Return how many more jobs may be held, whatever their state."""
        ...

    def start(self, job: Job, claimed_at: float, open_s: float) -> None:
        """Start a claimed job.

        `claimed_at` is when the claim was sent, monotonic seconds; `open_s` for how long jobs of
        its type had been in demand by then.
        """
        ...


class SweepClock(Protocol):
    """Says when a sweep is due, and takes what the last one said."""

    sweep_due: asyncio.Event
    """Set when a sweep should be made; the intake clears it."""

    def note_next_due(self, seconds: float | None) -> None:
        """Take when the database next has something for a sweep; None: nothing in sight."""
        ...


class IntakeEvents(Protocol):
    """Hears what intake did, for metrics."""

    def claimed(self, jobs: Sequence[Job]) -> None:
        """Take the jobs of one claim."""
        ...

    def swept(self, result: SweepResult) -> None:
        """Take what a sweep did."""
        ...


@dataclass(slots=True)
class IntakeStats:
    """Counts since the start, and the state of the database as intake sees it."""

    wakes: int = 0
    claims: int = 0
    claimed: int = 0
    looked_at: float = 0.0
    """Monotonic seconds at which the last claim was sent."""
    sweeps: int = 0
    rescued: int = 0
    store_error: str | None = None
    last_answer: float | None = None
    """Monotonic seconds of the database's last answer."""


@dataclass
class Intake:
    """Claims jobs whenever the flag is set and there is demand.

    Args:
        store: the database.
        worker: who claims.
        demand: what the scheduler can take now.
        starter: takes the claimed jobs.
        sweeps: when to sweep.
        lease_s: seconds that a claim holds without being renewed.
        events: hears of claims and sweeps.
        found: takes how many seconds ago the hints of a claim's jobs were due, and when the claim
            was sent.
        restraint: pauses before looks, when other workers keep being first.
    """

    store: JobStore
    worker: WorkerIdentity
    demand: Callable[[], Sequence[Demand]]
    starter: JobStarter
    sweeps: SweepClock
    lease_s: float
    events: IntakeEvents
    found: Callable[[Sequence[float], float], None] = lambda _waited, _at: None
    restraint: Restraint = field(default_factory=Restraint)
    clock: Callable[[], float] = time.monotonic
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    stats: IntakeStats = field(default_factory=IntakeStats)
    paused: bool = False
    """Nothing is claimed for the time being; set the flag when that is over."""
    _predecessor: bool = True
    _open_since: dict[str, float] = field(default_factory=dict)
    """Since when jobs of each type are in demand."""
    _empty: set[tuple[str, ...]] = field(default_factory=set)
    """Classes of which the looks of this wake-up have found the last row."""

    async def run_until(self, stopping: asyncio.Event) -> None:
        """Claim until `stopping` is set (set the flag too). A claim under way is finished first.

        It is never cancelled in mid-call, since its jobs would stay claimed until the lease ends.
        """
        self.wake.set()
        while not stopping.is_set():
            await self.wake.wait()
            if pause_s := self.restraint.pause_s(self.clock()):
                # Hints that come meanwhile are served by the same look.
                await asyncio.sleep(pause_s)
            self.wake.clear()
            self.stats.wakes += 1
            if self.sweeps.sweep_due.is_set():
                self.sweeps.sweep_due.clear()
                await self._until_answered(self._sweep, stopping)
            self._empty.clear()
            while not stopping.is_set() and await self._claim_once(stopping):
                pass

    async def _claim_once(self, stopping: asyncio.Event) -> bool:
        """Claim what is in demand; return whether there may be more."""
        room = 0 if self.paused else self.starter.room()
        wanted = self.demand() if room > 0 else []
        self._note_open(wanted)
        open_still = [demand for demand in wanted if demand.job_types not in self._empty]
        demands = bounded(open_still, room)
        if not demands:
            return False
        request_id = _new_request_id()

        async def claim() -> int:
            self.stats.looked_at = claimed_at = self.clock()
            jobs = await self.store.claim(self.worker, request_id, demands, self.lease_s)
            self.events.claimed(jobs)
            for job in jobs:
                open_s = claimed_at - self._open_since.get(job.job_type, claimed_at)
                self.starter.start(job, claimed_at, open_s)
            self._note_filled(demands, jobs)
            self._note_empty(demands, jobs)
            self.restraint.looked(len(jobs), self.clock())
            self.found([job.hinted_s for job in jobs if job.hinted_s is not None], claimed_at)
            return len(jobs)

        claimed = await self._until_answered(claim, stopping)
        self.stats.claims += 1
        self.stats.claimed += claimed or 0
        # Let the jobs ask for admission, so that the next demand knows of them.
        await asyncio.sleep(0)
        # Classes for which there was no room left have the room that others didn't need.
        return claimed == _total(demands) or len(demands) < len(open_still)

    def _note_open(self, demands: Sequence[Demand]) -> None:
        now, since = self.clock(), self._open_since
        wanted = [job_type for demand in demands for job_type in demand.job_types]
        self._open_since = {job_type: since.get(job_type, now) for job_type in wanted}

    def _note_filled(self, demands: Sequence[Demand], jobs: Sequence[Job]) -> None:
        """Close what was filled: until it is asked for again, rows of its types are kept waiting.

        Whether it is asked for again shows with the next look, which may be a run's length away.
        """
        if not jobs:
            return
        claimed = Counter(job.job_type for job in jobs)
        for demand in demands:
            if sum(claimed[job_type] for job_type in demand.job_types) >= demand.count:
                for job_type in demand.job_types:
                    self._open_since.pop(job_type, None)

    def _note_empty(self, demands: Sequence[Demand], jobs: Sequence[Job]) -> None:
        """Note of which classes there are no more rows, until the next wake-up."""
        claimed = Counter(job.job_type for job in jobs)
        for demand in demands:
            if sum(claimed[job_type] for job_type in demand.job_types) < demand.count:
                self._empty.add(demand.job_types)

    async def _sweep(self) -> None:
        swept = await self.store.sweep(self.worker, predecessor=self._predecessor)
        self._predecessor = False
        self.stats.sweeps += 1
        self.stats.rescued += swept.rescued
        self.sweeps.note_next_due(swept.next_due_s)
        self.events.swept(swept)
        if swept.rescued or swept.failed:
            _log.info("swept", rescued=swept.rescued, failed=swept.failed)

    async def _until_answered(
        self, call: Callable[[], Awaitable[Answer]], stopping: asyncio.Event
    ) -> Answer | None:
        """Call until the database answers; None when the worker stops before it does."""
        try:
            # The usual case, without the machinery of the other: a job waits for it.
            return self._answered(await call())
        except (StoreUnavailableError, StoreRejectedError) as error:
            self._not_answered(error)

        async def pause(seconds: float) -> None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), seconds)

        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((StoreUnavailableError, StoreRejectedError)),
            wait=wait_random_exponential(multiplier=0.2, max=MAX_BACKOFF_S),
            stop=lambda _: stopping.is_set(),
            before_sleep=lambda state: self._not_answered(_error_of(state)),
            retry_error_callback=lambda _: None,
            sleep=pause,
        ):
            with attempt:
                return self._answered(await call())
        return None

    def _answered(self, answer: Answer) -> Answer:
        self.stats.last_answer, self.stats.store_error = self.clock(), None
        return answer

    def _not_answered(self, error: BaseException | None) -> None:
        if self.stats.store_error is None:
            _log.warning("database does not answer: trying again", error=str(error))
        self.stats.store_error = str(error)


def _new_request_id() -> UUID:
    """Return a random id without a call to the kernel, which in a sandbox takes longer than SQL."""
    return UUID(int=_ids.getrandbits(128), version=4)


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _total(demands: Sequence[Demand]) -> int:
    return sum(demand.count for demand in demands)


def bounded(demands: Sequence[Demand], room: int) -> list[Demand]:
    """Cut demands, in their order, to what there is room for in all."""
    cut = []
    for demand in demands:
        count = min(demand.count, room)
        if count > 0:
            cut.append(Demand(demand.job_types, count))
            room -= count
    return cut
