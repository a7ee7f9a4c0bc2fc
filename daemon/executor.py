"""The owner of every job that runs: starts them, counts them, and stops them in two steps."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from uuid import UUID

import structlog

from daemon.execution import Execution
from daemon.job_run import Interruption, JobRun, Phase
from daemon.jobs import Job, LeaseState
from daemon.sections import StopSettings
from daemon.telemetry import context
from daemon.telemetry.prompts import PROMPTS

_log = structlog.get_logger("daemon.executor")


@dataclass
class Executor:
    """Carries jobs, each in a coroutine of its own: those of rows, and those asked for directly.

    Leaving the block drains: jobs that wait are released, those that run have `grace_s` seconds
    to end (soft), then all are stopped at their next step and released (hard).

    Args:
        execution: carries one job of a row.
        max_held: how many of rows may be held at once, those being uploaded included.
        stop: the seconds of the two steps.
        freed: called when a job has ended, since there is room again.
    """

    execution: Execution
    max_held: int
    stop: StopSettings
    freed: Callable[[], None]
    clock: Callable[[], float] = time.monotonic
    runs: dict[str, JobRun] = field(default_factory=dict)
    _carriers: set["asyncio.Task[None]"] = field(default_factory=set)
    _direct: int = 0
    _stopping: bool = False
    _hard: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def stopping(self) -> bool:
        """Whether no more jobs are taken."""
        return self._stopping

    def room(self) -> int:
        """Return how many more jobs of rows may be held."""
        held = len(self._carriers) - self._direct
        return 0 if self._stopping else self.max_held - held

    def start(self, job: Job, claimed_at: float, open_s: float = 0.0) -> None:
        """Carry a claimed job; `open_s`: for how long its type had been in demand."""
        self._carry(JobRun(job, claimed_at, self.clock, open_s=open_s), self.execution)

    def start_direct(self, job: Job, execution: Execution, ended: Callable[[UUID], None]) -> JobRun:
        """Carry a job without a row, in the way that records it where it was asked for.

        `ended` is called with its claim in the end, however that came about.
        """
        header = context.INCOMING.get()
        run = JobRun(job, self.clock(), self.clock, direct=True, traceparent=header)
        self._carry(run, execution).add_done_callback(lambda _: ended(job.claim_id))
        return run

    def _carry(self, run: JobRun, execution: Execution) -> "asyncio.Task[None]":
        job = run.job
        PROMPTS.hold(str(job.claim_id), job.request, {"prompt": job.original_prompt})
        carrier = asyncio.create_task(execution.carry(run), name=f"job {job.id}")
        run.carried_by(carrier)
        self.runs[str(job.claim_id)] = run
        self._carriers.add(carrier)
        self._direct += run.direct
        carrier.add_done_callback(lambda done: self._ended(done, run))
        if self._stopping:
            run.interrupt(Interruption.STOPPING)  # claimed in the moment of stopping
        return carrier

    def stopping_hard_at(self, hard: asyncio.Event) -> Self:
        """Cut the soft step short when `hard` is set."""
        self._hard = hard
        return self

    async def __aenter__(self) -> Self:
        """Start nothing: jobs start as they are claimed."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drain; an error in the block skips the soft step."""
        await self.drain(grace_s=self.stop.grace_s if error is None else 0.0)

    def cancel(self, job_id: UUID) -> None:
        """Stop a job's run at its next step, if it is held: its row is cancelled already."""
        claims = [run.job.claim_id for run in self.runs.values() if run.job.id == job_id]
        self.execution.leases.apply(dict.fromkeys(claims, LeaseState.CANCELLED))

    def stop_waiting(self) -> None:
        """Take no more, and release the jobs that haven't begun to run."""
        self._stopping = True
        for run in self.runs.values():
            if run.phase is Phase.WAITING:
                run.interrupt(Interruption.STOPPING)

    async def finish_held(self, unless: asyncio.Event) -> None:
        """Finish what runs, however long that takes, and take no more; `unless` ends the wait."""
        self.stop_waiting()
        if self._carriers:
            _log.info("finishing jobs", jobs=len(self._carriers))
            await self._until_ended(None, unless)

    async def drain(self, grace_s: float) -> None:
        """Stop in two steps; returns when no job is held, or when the second step ran out."""
        self.stop_waiting()
        if self._carriers and grace_s > 0:
            _log.info("finishing jobs", jobs=len(self._carriers), seconds=grace_s)
            await self._until_ended(grace_s, self._hard)
        if not self._carriers:
            return
        _log.warning("releasing jobs", jobs=len(self._carriers))
        for run in self.runs.values():
            run.interrupt(Interruption.STOPPING)
        await asyncio.wait(self._carriers, timeout=self.stop.release_s)
        for run in self.runs.values():
            with context.lines_of(run):
                _log.error("job left to its lease", phase=run.phase.value)

    async def _until_ended(self, timeout_s: float | None, unless: asyncio.Event) -> None:
        """Wait for all jobs, for the event, or for the time-out."""
        cut = asyncio.create_task(unless.wait(), name="wait for a signal")
        ended = asyncio.create_task(asyncio.wait(self._carriers), name="wait for the jobs")
        await asyncio.wait({cut, ended}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        cut.cancel()
        ended.cancel()

    def _ended(self, carrier: "asyncio.Task[None]", run: JobRun) -> None:
        self._carriers.discard(carrier)
        self._direct -= run.direct
        self.runs.pop(str(run.job.claim_id), None)
        PROMPTS.ended(str(run.job.claim_id))
        if not carrier.cancelled() and (error := carrier.exception()) is not None:
            with context.lines_of(run):
                _log.error("a job's coroutine raised", exc_info=error)
        self.freed()
