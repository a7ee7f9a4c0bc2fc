"""The hub of what jobs show while they run: engines' steps come in, readers follow.

Nobody has to look on. Then a step costs a few assignments: the latest step, a list of pieces, the
latest preview. Readers come at any time, also after the end, and are given what they haven't seen.

    run began anew (out of memory)   `restarted`, and the job goes on
    retried, released                `restarted`: it may come to this worker again, or to another
    lease lost                       `restarted`, and readers are let go: the job is somebody else's
    completed, failed, cancelled     `end`, and readers are let go
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, assert_never
from uuid import UUID

from daemon.job_run import WAITING, JobRun
from daemon.jobs import (
    Cancelled,
    Completed,
    Failed,
    Outcome,
    Recorded,
    Released,
    Retry,
    Status,
)
from daemon.journal import Follower, Journal
from daemon.telemetry.redaction import redact
from daemon.values import StepReport

LINGER_S = 60.0
"""How long a job can still be looked at when nothing comes of it any more."""

MAX_IDLE = 256
"""How many such jobs are kept; of more, the oldest go at once."""


@dataclass
class Feed:
    """The journal of every held job, and for a while those of jobs that have ended.

    Args:
        clock: monotonic seconds.
        opened: told of each job that begins; None: nobody wants to hear of all.
    """

    clock: Callable[[], float] = time.monotonic
    opened: Callable[[UUID], object] | None = None
    _journals: dict[UUID, Journal] = field(default_factory=dict)
    _idle: deque[tuple[float, Journal]] = field(default_factory=deque)
    """Since when nothing comes of a job, the oldest first; where it says another, it came back."""
    _closed: bool = False
    _awaited: dict[UUID, tuple[Callable[[], object], ...]] = field(default_factory=dict)
    """Who waits for jobs that aren't known here."""

    def stepped(self, run: JobRun, report: StepReport) -> None:
        """Take a run's step; implements `Onlooker`."""
        journal = self._journals.get(run.job.id)
        if journal is None or journal.run is not run:
            journal = self._journal_of(run, journal)
            if journal is None:
                return
        if report.current_step == WAITING and journal.has_drawn():
            # It ran out of memory, and is tried again.
            journal.restart("again")
        journal.step(report)

    def ended(self, run: JobRun, outcome: Outcome | None, recorded: Recorded | None) -> None:
        """Take the end of a run: the job's own, or back to the queue; implements `Ender`."""
        journal = self._journals.get(run.job.id)
        if journal is None or journal.run is not run:
            journal = self._journal_of(run, journal)
            if journal is None:
                return
        if outcome is None or recorded is not Recorded.RECORDED:
            journal.restart("lost")
            self._drop(journal)
            return
        status = _status(outcome, run)
        if status is None:
            journal.restart("retried" if isinstance(outcome, Retry) else "released")
        else:
            journal.end(partial(_end, status, outcome))
        journal.idle_since = now = self.clock()
        self._idle.append((now, journal))
        self._forget(now - LINGER_S)

    def follow(
        self, job_id: UUID, number: int = 0, wake: Callable[[], object] | None = None
    ) -> Follower | None:
        """Return a reader, as `Follower` describes him; None: the job isn't known here."""
        self.forget_old()
        journal = self._journals.get(job_id)
        return None if journal is None else Follower(journal, number, wake)

    def await_run(self, job_id: UUID, wake: Callable[[], object]) -> Callable[[], None]:
        """Call `wake` when the job begins to be known here; return what ends that."""
        self._awaited[job_id] = (*self._awaited.get(job_id, ()), wake)

        def leave() -> None:
            left = list(self._awaited[job_id])
            left.remove(wake)
            self._awaited[job_id] = tuple(left)
            if not left:
                del self._awaited[job_id]

        return leave

    def forget_old(self) -> None:
        """Drop jobs of which nothing has come for long."""
        self._forget(self.clock() - LINGER_S)

    def close(self) -> None:
        """Let all readers go: the worker stops."""
        self._closed = True
        self._idle.clear()
        for journal in list(self._journals.values()):
            self._drop(journal)

    def _journal_of(self, run: JobRun, journal: Journal | None) -> Journal | None:
        """Return a run's journal, new or its job's former one; None: it isn't to be looked at.

        A run that lost its lease may not have heard of it yet while the next one is under way.
        """
        if self._closed or (journal is not None and run.claimed_at < journal.run.claimed_at):
            return None
        if journal is not None and journal.ended:
            # Somebody has put a finished row back into the queue.
            self._drop(journal)
            journal = None
        if journal is not None:
            journal.run = run
            if journal.idle_since is None:
                journal.restart("lost")
            journal.idle_since = None
            return journal
        journal = self._journals[run.job.id] = Journal(run)
        if self.opened is not None:
            self.opened(run.job.id)
        for wake in self._awaited.get(run.job.id, ()):
            wake()
        return journal

    def _forget(self, before: float) -> None:
        idle = self._idle
        while idle and (idle[0][0] <= before or len(idle) > MAX_IDLE):
            since, journal = idle.popleft()
            if journal.idle_since == since:
                self._drop(journal)

    def _drop(self, journal: Journal) -> None:
        journal.idle_since = None
        del self._journals[journal.run.job.id]
        journal.close()


def _status(outcome: Outcome, run: JobRun) -> Status | None:
    """Return the row's last status; None: it is queued again."""
    match outcome:
        case Completed():
            return Status.COMPLETED
        case Cancelled():
            return Status.CANCELLED
        case Failed():
            return Status.FAILED
        case Retry():
            # As the database has it: a retry without an attempt left is a failure.
            return Status.FAILED if run.job.attempt >= run.job.max_attempts else None
        case Released():
            return None
        case _:
            assert_never(outcome)


def _end(status: Status, outcome: Outcome) -> Mapping[str, Any]:
    failure = outcome if isinstance(outcome, Failed | Retry) else None
    data = {
        "status": status.value,
        "error": None if failure is None else redact(failure.error),
        "error_code": None if failure is None else failure.error_code.value,
    }
    return data | ({"result": outcome.result} if isinstance(outcome, Completed) else {})
