"""Admission: the right to use the GPU. The single owner of the scheduler, and its hands.

Every event goes through `_carry_out` in one piece, without an `await` between asking the scheduler
and acting on its commands, so the scheduler needs no lock. A reservation is returned when the work
has really ended: when the admission was left and none of its runs is going on any more.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, assert_never

from daemon.jobs import JobError
from daemon.ports import Engine, ProgressSink
from daemon.scheduling.commands import Command, LoadModel, RefuseRequest, StartRun, UnloadModel
from daemon.scheduling.scheduler import Scheduler
from daemon.scheduling.snapshot import SchedulerSnapshot
from daemon.values import AdmissionRequest, Demand, Loaded, RunOutput


class Timer(Protocol):
    """A call that is to come. `asyncio.TimerHandle` fulfils it."""

    def cancel(self) -> None:
        """Don't call."""
        ...


class Clock(Protocol):
    """Monotonic seconds and later calls. An asyncio event loop fulfils it."""

    def time(self) -> float:
        """Return the seconds now."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call at that moment."""
        ...

    def call_soon(self, callback: Callable[[], None]) -> object:
        """Call in the loop's next turn."""
        ...


class EngineHands(Protocol):
    """What admission needs of `daemon.engines.pool.EnginePool`."""

    def report_to(self, reports: "GpuAdmissions") -> None:
        """Say who hears of loads, unloads and deaths."""
        ...

    def engine(self, model: str, device: int) -> Engine:
        """Return the engine that holds the model."""
        ...

    def load(self, model: str, device: int) -> None:
        """Begin to load."""
        ...

    def unload(self, model: str, device: int) -> None:
        """Begin to unload."""
        ...


class GpuAdmissions:
    """Implements `daemon.ports.Admissions` with a scheduler and a pool of engines."""

    def __init__(self, scheduler: Scheduler, pool: EngineHands, clock: Clock) -> None:
        self._scheduler = scheduler
        self._pool = pool
        self._clock = clock
        self._waiting: dict[str, _Admission] = {}
        self._fresh: list[AdmissionRequest] = []
        self._timer: Timer | None = None
        self._timer_at = float("inf")
        self.demand_changed: Callable[[], None] = lambda: None
        """Called when more may be demanded than before; intake sets it."""
        pool.report_to(self)

    def demand(self) -> Sequence[Demand]:
        """Return the jobs that could be taken now; empty is backpressure."""
        self._submit_fresh()
        return self._scheduler.demand(self._clock.time())

    def admit(self, request: AdmissionRequest) -> "_Admission":
        """Wait for a reservation on a loaded engine; leaving returns it.

        Raises `JobError` (MODEL_LOAD_FAILED, VRAM_OVERFLOW) when it can't be granted.
        """
        return _Admission(self, request)

    def drain(self) -> None:
        """Demand nothing more; what was submitted goes on."""
        self._scheduler.drain()

    def snapshot(self) -> SchedulerSnapshot:
        """Return what each device holds, what runs, what waits and why."""
        return self._scheduler.snapshot(self._clock.time())

    # Events of admissions.

    def submit(self, admission: "_Admission") -> None:
        """Let an admission wait for its grant or its refusal.

        What is submitted in one turn of the loop is decided on together: which model is best
        loaded first depends on all of it. Raises ValueError if the id was submitted before and
        hasn't ended.
        """
        if admission.request.id in self._waiting or self._scheduler.knows(admission.request.id):
            raise ValueError(
                f"request {admission.request.id} was submitted before and hasn't ended"
            )
        self._waiting[admission.request.id] = admission
        if not self._fresh:
            self._clock.call_soon(self._submit_fresh)
        self._fresh.append(admission.request)

    def _submit_fresh(self) -> None:
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            self._carry_out(self._scheduler.submit_all(fresh, self._clock.time()))

    def withdraw(self, request_id: str) -> None:
        """Stop waiting."""
        self._submit_fresh()
        if request_id not in self._waiting:
            return  # it was answered at this moment
        del self._waiting[request_id]
        self._carry_out(self._scheduler.withdraw(request_id, self._clock.time()))
        self.demand_changed()

    def run_ended(self, request_id: str, peak_bytes: int | None, *, completed: bool) -> None:
        """Return a reservation."""
        now = self._clock.time()
        self._carry_out(self._scheduler.run_ended(request_id, now, peak_bytes, completed=completed))
        self.demand_changed()

    def count_unclaimed(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Take how many jobs of each class, (model, quality), the table holds unclaimed."""
        self._carry_out(self._scheduler.count_unclaimed(counts, self._clock.time()))

    # Events of engines: `daemon.engines.pool.EngineReports`.

    def load_done(self, model: str, device: int, loaded: Loaded) -> None:
        """The model is in memory."""
        now = self._clock.time()
        self._carry_out(self._scheduler.load_done(model, device, loaded.weights_bytes, now))
        self.demand_changed()

    def load_failed(self, model: str, device: int, error: JobError) -> None:
        """The load failed and its engine is gone."""
        now, code = self._clock.time(), error.error_code
        self._carry_out(self._scheduler.load_failed(model, device, code, error.message, now))
        self.demand_changed()

    def engine_lost(self, model: str, device: int, reason: str) -> None:
        """The engine ended by itself; its runs learn it from the engine."""
        del reason
        self._carry_out(self._scheduler.engine_lost(model, device, self._clock.time()))

    def unload_done(self, model: str, device: int) -> None:
        """The engine is gone and the device has its memory back."""
        self._carry_out(self._scheduler.unload_done(model, device, self._clock.time()))
        self.demand_changed()

    # Acts.

    def _carry_out(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case StartRun(request_id, model, device):
                    engine = self._pool.engine(model, device)
                    self._waiting.pop(request_id).grant(engine)
                case RefuseRequest(request_id, error_code, message):
                    self._waiting.pop(request_id).refuse(JobError(error_code, message))
                case LoadModel(model, device):
                    self._pool.load(model, device)
                    self.demand_changed()
                case UnloadModel(model, device):
                    self._pool.unload(model, device)
                case _:
                    assert_never(command)
        self._set_timer()

    def _set_timer(self) -> None:
        """Be called at the next deadline. A timer that comes too early only looks again."""
        deadline = self._scheduler.next_deadline(self._clock.time())
        if deadline is None or deadline >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._clock.call_at(deadline, self._tick)

    def _tick(self) -> None:
        # Event loops may call a clock's resolution early; the scheduler must not see that.
        now = max(self._clock.time(), self._timer_at)
        self._timer, self._timer_at = None, float("inf")
        self._carry_out(self._scheduler.tick(now))
        self.demand_changed()


class _Admission:
    """One request's wait, and then its right to an engine. Entered and left once."""

    def __init__(self, owner: GpuAdmissions, request: AdmissionRequest) -> None:
        self.request = request
        self._owner = owner
        self._answer: asyncio.Future[_AdmittedEngine] | None = None
        self._engine: _AdmittedEngine | None = None
        self._refused = False

    async def __aenter__(self) -> Engine:
        self._answer = asyncio.get_running_loop().create_future()
        self._owner.submit(self)
        try:
            return await self._answer
        except asyncio.CancelledError:
            # A grant or a refusal may have come between the cancellation and this moment.
            if self._engine is not None:
                self._engine.leave()
            elif not self._refused:
                self._owner.withdraw(self.request.id)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._engine is not None:
            self._engine.leave()

    def grant(self, engine: Engine) -> None:
        """Hand the engine over."""
        self._engine = _AdmittedEngine(engine, self._ended)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._engine)

    def refuse(self, error: JobError) -> None:
        """Answer with the error."""
        self._refused = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def _ended(self, peak_bytes: int | None, *, completed: bool) -> None:
        self._owner.run_ended(self.request.id, peak_bytes, completed=completed)


class _Ended(Protocol):
    """Takes back a reservation."""

    def __call__(self, peak_bytes: int | None, *, completed: bool) -> None: ...


class _AdmittedEngine:
    """An engine for the time of one admission: knows what still runs, and the highest peak."""

    def __init__(self, engine: Engine, ended: "_Ended") -> None:
        self._engine = engine
        self._ended = ended
        self._completed = False
        self._running = 0
        self._left = False
        self._peak_bytes: int | None = None

    def leave(self) -> None:
        """The admission was left: the reservation goes back with the last run."""
        self._left = True
        self._return_when_over()

    def _return_when_over(self) -> None:
        if self._left and not self._running:
            self._ended(self._peak_bytes, completed=self._completed)

    async def load(self) -> Loaded:
        return await self._engine.load()

    async def run(
        self, run_id: str, handler: str, params: Mapping[str, Any], progress: ProgressSink
    ) -> RunOutput:
        if self._left:
            raise RuntimeError(f"run {run_id} after its admission was left")
        self._running += 1
        try:
            output = await self._engine.run(run_id, handler, params, progress)
            self._completed = True
            if output.peak_bytes is not None:
                self._peak_bytes = max(output.peak_bytes, self._peak_bytes or 0)
            return output
        finally:
            self._running -= 1
            self._return_when_over()

    def cancel(self, run_id: str) -> None:
        self._engine.cancel(run_id)

    async def stop(self, grace_s: float = 5.0) -> None:
        await self._engine.stop(grace_s)

    async def ended(self) -> str:
        return await self._engine.ended()
