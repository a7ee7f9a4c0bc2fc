"""Who answers requests of text at once: the daemon's own checks and shapes, and no engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import uuid4

from daemon.exchanges import Exchange, Order
from daemon.job_run import JobRun
from daemon.job_types import JOB_TYPES
from daemon.jobs import Completed, Failed, Job, JobError
from daemon.resolving import resolver
from daemon.results import result_of
from daemon.settings import Settings
from handlers.base import ModelSpec
from handlers.fake import FakeRunner
from handlers.registry import run_handler


class Pieces:
    """A run's line to the outside that only hands on pieces."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def step(
        self, current_step: str, fraction: float, step: int | None = None, steps: int | None = None
    ) -> None:
        """Do nothing."""

    def tell(self, text: str) -> None:
        """Hand it on."""
        self._exchange.add(text)

    def show(self, picture: bytes) -> None:
        """Do nothing."""

    def check(self) -> None:
        """Never stop."""


class AtOnce:
    """Implements `Answers`: the answer is there before it is waited for."""

    def __init__(self, settings: Settings) -> None:
        self._resolve = resolver(settings)
        self._runner = FakeRunner(ModelSpec("chat", "Qwen", "", "fake"))

    @contextmanager
    def ask(self, order: Order) -> Iterator[Exchange]:
        """Answer."""
        exchange = Exchange(order)
        job_type = JOB_TYPES[order.job_type]
        now = datetime.now(UTC)
        job = Job(exchange.job_id, order.user_id, order.job_type, order.request, uuid4(), 1, 1, now)
        try:
            params = self._resolve(job_type, job)
            output = run_handler(job_type.handler, self._runner, params, Pieces(exchange))
        except JobError as error:
            exchange.end(Failed(error.message, error.error_code))
        else:
            account = JobRun(job, 0.0, lambda: 0.0).account()
            exchange.end(Completed(result_of(output.fields, [], account)))
        yield exchange
