"""One request's way through admission: its wait, its grant or refusal, and its time in the engine.

A reservation is returned when the work has really ended: when the admission was left and none of
its runs is going on any more.
"""

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol

from daemon.engine_ports import AdmittedEngine, Engine, ProgressSink
from daemon.jobs import ErrorCode, JobError
from daemon.scheduling.learning import Measured
from daemon.values import (
    NO_WAIT,
    AdmissionRequest,
    EngineLostError,
    RunOutput,
    StepReport,
    Waits,
)

PACE_FROM = 0.1
"""From this share of a run on its own pace says when it ends."""


class Desk(Protocol):
    """What an admission needs of `daemon.admission.GpuAdmissions`."""

    def submit(self, admission: "Admission") -> None:
        """Let it wait."""
        ...

    def withdraw(self, request_id: str) -> None:
        """Stop waiting."""
        ...

    def run_ended(self, request_id: str, measured: Measured) -> None:
        """Take a reservation back."""
        ...

    def engine_gone(self, request_id: str) -> None:
        """Hear that the engine of a run is gone."""
        ...

    def expect_end(self, request_id: str, in_s: float) -> None:
        """Take in how many seconds a run is expected to end."""
        ...

    def time(self) -> float:
        """Return monotonic seconds."""
        ...


class Admission:
    """One request's wait, and then its right to an engine. Entered and left once."""

    def __init__(
        self, desk: Desk, request: AdmissionRequest, loads: Callable[[], None] = lambda: None
    ) -> None:
        self.request = request
        self.loads = loads
        """To be called when its model begins to load."""
        self._desk = desk
        self._answer: asyncio.Future[AdmittedEngine] | None = None
        self._engine: _Admitted | None = None
        self._refused = False

    async def __aenter__(self) -> AdmittedEngine:
        self._answer = asyncio.get_running_loop().create_future()
        self._desk.submit(self)
        try:
            return await self._answer
        except asyncio.CancelledError:
            # A grant or a refusal may have come between the cancellation and this moment.
            if self._engine is not None:
                self._engine.leave()
            elif not self._refused:
                self._desk.withdraw(self.request.id)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._engine is not None:
            self._engine.leave()

    def grant(self, engine: Engine, waited: Waits = NO_WAIT, savings: int = 0) -> None:
        """Hand the engine over, and say why the request had to wait."""
        self._engine = _Admitted(engine, self._desk, self.request.id, waited, savings)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._engine)

    def refuse(self, error: JobError) -> None:
        """Answer with the error."""
        self._refused = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class _Admitted:
    """An engine for the time of one admission: knows what still runs, and what was measured."""

    def __init__(
        self, engine: Engine, desk: Desk, request_id: str, waited: Waits, savings: int
    ) -> None:
        self.waited = waited
        self.savings = savings
        self._engine = engine
        self._desk = desk
        self._id = request_id
        self._measured = Measured(completed=False)
        self._running = 0
        self._left = False

    def leave(self) -> None:
        """The admission was left: the reservation goes back with the last run."""
        self._left = True
        self._return_when_over()

    def _return_when_over(self) -> None:
        if self._left and not self._running:
            self._desk.run_ended(self._id, self._measured)

    async def run(
        self, run_id: str, handler: str, params: Mapping[str, Any], progress: ProgressSink
    ) -> RunOutput:
        if self._left:
            raise RuntimeError(f"run {run_id} after its admission was left")
        self._running += 1
        try:
            output = await self._engine.run(run_id, handler, params, self._paced(progress))
            self._measured = Measured(peak_bytes=output.peak_bytes, held_bytes=output.held_bytes)
            return output
        except EngineLostError:
            # Before anybody else is sent there: the pool may hear of it later than we do.
            self._desk.engine_gone(self._id)
            raise
        except JobError as error:
            overflowed = error.error_code is ErrorCode.VRAM_OVERFLOW
            self._measured = Measured(completed=False, overflowed=overflowed)
            raise
        finally:
            self._running -= 1
            self._return_when_over()

    def _paced(self, progress: ProgressSink) -> ProgressSink:
        """Return a sink that tells the scheduler too when the run will end, by its pace."""
        began_s = self._desk.time()

        def take(report: StepReport) -> None:
            if report.fraction >= PACE_FROM:
                elapsed_s = self._desk.time() - began_s
                left_s = elapsed_s * (1 / report.fraction - 1)
                self._desk.expect_end(self._id, left_s)
            progress(report)

        return take

    def cancel(self, run_id: str) -> None:
        self._engine.cancel(run_id)
