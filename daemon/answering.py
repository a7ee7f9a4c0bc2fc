"""Requests that somebody waits for: run as jobs are, but held by their connection, not by a lease.

    ask -> the executor's own way: admission, run, upload -> the outcome goes to whoever asked

They need no database. They go through the one scheduler, in its interactive lanes, and are stopped
at their next step when nobody waits any more.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import structlog

from daemon.exchanges import Exchange, FullError, Order
from daemon.execution import Execution
from daemon.executor import Executor
from daemon.job_run import Interruption, JobRun
from daemon.jobs import ErrorCode, Failed, Finish, Job, LeaseState, Progress, Recorded, Released
from daemon.values import StepReport

MOST_LOSSES = 3
"""How often a request is begun anew since it lost its engine by no fault that is known of."""

_log = structlog.get_logger("daemon.answering")


class Connected:
    """In the place of leases and of progress: a request is held as long as it is asked for."""

    @contextlib.contextmanager
    def hold(
        self, claim_id: UUID, claimed_at: float, on_end: Callable[[LeaseState], None]
    ) -> Iterator[None]:
        """Do nothing: there is no lease that could end."""
        del claim_id, claimed_at, on_end
        yield

    def apply(self, states: Mapping[UUID, LeaseState]) -> None:
        """Do nothing: no database knows of these claims."""

    def report(self, progress: Progress) -> None:
        """Do nothing: there is no row."""

    def forget(self, claim_id: UUID) -> None:
        """Do nothing."""


@dataclass
class Answering:
    """All requests under way. Implements `execution.Recorder` and `run_events.Onlooker`.

    Args:
        executor: carries them, beside the jobs of rows.
        most: how many may be held at once, waiting ones included.
    """

    executor: Executor
    most: int
    stopping: bool = False
    paused: bool = False
    """No more are taken for the time being."""
    _execution: Execution | None = None
    _exchanges: dict[UUID, Exchange] = field(default_factory=dict)
    """By claim: each run of a request has its own."""

    def carried_by(self, execution: Execution) -> None:
        """Say in which way requests are carried: one that records outcomes here."""
        self._execution = execution

    def go_by(self, rows: Execution) -> None:
        """Have requests that begin from now on resolved and enhanced as rows are."""
        if self._execution is not None:
            self._execution = replace(
                self._execution, resolve=rows.resolve, enhancement=rows.enhancement
            )

    @property
    def held(self) -> int:
        """How many requests are under way."""
        return len(self._exchanges)

    @contextlib.contextmanager
    def ask(self, order: Order) -> Iterator[Exchange]:
        """Begin a request; leaving before its end stops it at its next step.

        Raises:
            FullError: as many are held as may be, or the worker stops.
        """
        if self.stopping or self.paused:
            raise FullError("the worker is draining")
        if self.held >= self.most:
            raise FullError(f"the worker holds {self.most} requests, and takes no more")
        exchange = Exchange(order)
        self._begin(exchange, losses=0, number=1)
        try:
            yield exchange
        finally:
            if exchange.outcome is None and exchange.run is not None:
                exchange.run.interrupt(Interruption.CANCELLED)

    def is_inline(self, claim_id: UUID) -> bool:
        """Say whether a run's files are given back with the answer."""
        exchange = self._exchanges.get(claim_id)
        return exchange is not None and exchange.order.inline

    def stepped(self, run: JobRun, report: StepReport) -> None:
        """Take a run's step."""
        exchange = self._exchanges.get(run.job.claim_id)
        if exchange is not None and report.text:
            exchange.add(report.text)

    async def finish(self, finish: Finish) -> Recorded:
        """Take a run's outcome: the request's own, unless it is begun anew."""
        exchange = self._exchanges.pop(finish.claim_id, None)
        if exchange is None or exchange.run is None:
            return Recorded.STALE
        run, outcome = exchange.run, finish.outcome
        if isinstance(outcome, Released) and self._may_begin_anew(exchange, run):
            losses = run.job.engine_losses + outcome.engine_lost
            _log.warning("request begun anew", error=outcome.reason)
            exchange.drop()
            self._begin(exchange, losses=losses, number=run.job.attempt + 1)
        else:
            exchange.end(outcome)
        return Recorded.RECORDED

    def drain(self) -> None:
        """Take no more; the executor's own drain goes for those that are under way."""
        self.stopping = True

    def _may_begin_anew(self, exchange: Exchange, run: JobRun) -> bool:
        """Say whether somebody still waits, and hasn't read a part of what is lost."""
        if self.stopping or run.interruption is not None or exchange.told:
            return False
        return run.job.attempt <= MOST_LOSSES

    def _begin(self, exchange: Exchange, *, losses: int, number: int) -> None:
        if self._execution is None:
            raise RuntimeError("nobody carries requests yet")
        order = exchange.order
        job = Job(
            id=exchange.job_id,
            user_id=order.user_id,
            job_type=order.job_type,
            request=order.request,
            claim_id=uuid4(),
            attempt=number,
            max_attempts=number,
            created_at=datetime.now(UTC),
            engine_losses=losses,
            caller=order.caller,
        )
        self._exchanges[job.claim_id] = exchange
        exchange.run = self.executor.start_direct(job, self._execution, self._over)

    def _over(self, claim_id: UUID) -> None:
        """Leave nobody waiting for a run that ended without an outcome: a defect of the worker."""
        exchange = self._exchanges.pop(claim_id, None)
        if exchange is not None:
            exchange.end(Failed("the worker failed to carry it out", ErrorCode.GENERATION_FAILED))
