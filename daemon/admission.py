"""Admission: the right to use the GPU. The single owner of the scheduler, and its hands.

Every event goes through `_carry_out` in one piece, without an `await` between asking the scheduler
and acting on its commands, so the scheduler needs no lock.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

from daemon.admission_hands import Clock, EngineHands, Timer
from daemon.admitted import Admission
from daemon.engine_ports import KeptEngine
from daemon.jobs import JobError
from daemon.scheduling.commands import (
    Command,
    LoadModel,
    OffloadModel,
    RefuseRequest,
    StartRun,
    UnloadModel,
)
from daemon.scheduling.forecast import Foresight, foresee
from daemon.scheduling.learning import Measured
from daemon.scheduling.residency import Residency
from daemon.scheduling.scheduler import Scheduler
from daemon.scheduling.snapshot import SchedulerSnapshot
from daemon.values import (
    NO_WAIT,
    AdmissionRequest,
    Demand,
    EngineEnd,
    Loaded,
    Offloaded,
    RefusedError,
    Waits,
)


class GpuAdmissions:
    """Implements `daemon.engine_ports.Admissions` with a scheduler and a pool of engines."""

    def __init__(self, scheduler: Scheduler, pool: EngineHands, clock: Clock) -> None:
        self._scheduler = scheduler
        self.take_charges = scheduler.take_charges
        self._pool = pool
        self._clock = clock
        self._waiting: dict[str, Admission] = {}
        self._fresh: list[AdmissionRequest] = []
        self._timer: Timer | None = None
        self._timer_at = float("inf")
        self._accounting = False
        self.demand_changed: Callable[[], None] = lambda: None
        """Called when more may be demanded than before; intake sets it."""
        self.engine_leaks: Callable[[str, int], None] = lambda _model, _device: None
        """Called when an engine goes since it leaks, with its model and device."""
        pool.report_to(self)

    def demand(self) -> Sequence[Demand]:
        """Return the jobs that could be taken now; empty is backpressure."""
        self._submit_fresh()
        return self._scheduler.demand(self._clock.time())

    def admit(
        self, request: AdmissionRequest, loads: Callable[[], None] = lambda: None
    ) -> Admission:
        """Wait for a reservation on a loaded engine; leaving returns it.

        `loads` is called when its model begins to load while it waits.
        Raises `JobError` (MODEL_LOAD_FAILED, VRAM_OVERFLOW) when it can't be granted.
        """
        return Admission(self, request, loads)

    def drain(self) -> None:
        """Demand nothing more; what was submitted goes on."""
        self._scheduler.drain()

    def resume(self) -> None:
        """Demand jobs again."""
        self._scheduler.resume()

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits; `demand_changed` is called whenever less does."""
        return bool(self._waiting or self._scheduler.state.runs)

    def idle(self) -> list[tuple[str, int]]:
        """Return the models, each with its device, that are resident, sound, and run nothing."""
        return [
            (each.model.name, each.device)
            for each in self._scheduler.state.placements.values()
            if each.residency is Residency.RESIDENT and not each.runs and not each.doomed
        ]

    def adopt(self, kept: Sequence[KeptEngine]) -> None:
        """Take engines over that a predecessor kept; before anything is submitted."""
        for each in kept:
            self._pool.adopt(each)
        held = [(each.model, each.device, each.loaded) for each in kept]
        self._carry_out(self._scheduler.adopt(held, self._clock.time()))

    def snapshot(self) -> SchedulerSnapshot:
        """Return what each device holds, what runs, what waits and why."""
        return self._scheduler.snapshot(self._clock.time())

    def waited(self, request_id: str) -> Waits:
        """Return why a request has waited so far; nothing if it doesn't wait."""
        waiting = self._scheduler.state.waiting.get(request_id)
        return NO_WAIT if waiting is None else waiting.waits(self._clock.time())

    @property
    def backlog(self) -> bool:
        """Whether jobs of the table are counted that nobody has claimed yet."""
        return any(lane.unclaimed for lane in self._scheduler.state.lanes)

    def forecast(self) -> Foresight:
        """Begin to work out when what waits and runs should end, in the clock's seconds."""
        return foresee(self._scheduler, self._clock.time())

    # Events of admissions.

    def submit(self, admission: Admission) -> None:
        """Let an admission wait for its grant or its refusal.

        What is submitted in one turn of the loop is decided on together: which model is best
        loaded first depends on all of it. Raises ValueError if the id is known.
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
            for request in fresh:
                waiting = self._waiting.get(request.id)
                if waiting and self._scheduler.loading(request.model):
                    waiting.loads()

    def withdraw(self, request_id: str) -> None:
        """Stop waiting."""
        self._submit_fresh()
        if request_id not in self._waiting:
            return  # it was answered at this moment
        del self._waiting[request_id]
        self._carry_out(self._scheduler.withdraw(request_id, self._clock.time()))
        self.demand_changed()

    def run_ended(self, request_id: str, measured: Measured) -> None:
        """Return a reservation."""
        self._carry_out(self._scheduler.run_ended(request_id, self._clock.time(), measured))
        self.demand_changed()

    def engine_gone(self, request_id: str) -> None:
        """A run found its engine gone: nobody else is sent there."""
        self._carry_out(self._scheduler.engine_gone(request_id, self._clock.time()))

    def expect_end(self, request_id: str, in_s: float) -> None:
        """Take in how many seconds a run is expected to end, by its own pace."""
        self._scheduler.expect_end(request_id, self._clock.time() + in_s)

    def time(self) -> float:
        """Return the seconds of the clock."""
        return self._clock.time()

    def used_by_others(self, device: int, used_bytes: int) -> None:
        """Take what the driver shows as used on a device: what isn't promised here is others'."""
        ledger = self._scheduler.state.ledgers[device]
        # The reserve is there for the driver, which counts itself.
        others = max(0, used_bytes - ledger.device.reserve_bytes - ledger.held_bytes)
        self._carry_out(self._scheduler.used_by_others(device, others, self._clock.time()))
        self.demand_changed()

    def count_unclaimed(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Take how many jobs of each class, (model, quality), the table holds unclaimed."""
        self._carry_out(self._scheduler.count_unclaimed(counts, self._clock.time()))

    # Events of engines: `daemon.engines.pool.EngineReports`.

    def load_done(self, model: str, device: int, loaded: Loaded) -> None:
        """The model is in memory."""
        now = self._clock.time()
        self._carry_out(self._scheduler.load_done(model, device, loaded, now))
        self.demand_changed()

    def load_failed(self, model: str, device: int, error: JobError) -> None:
        """The load failed and its engine is gone."""
        now, code = self._clock.time(), error.error_code
        self._carry_out(self._scheduler.load_failed(model, device, code, error.message, now))
        self.demand_changed()

    def load_lost(self, model: str, device: int, end: EngineEnd) -> None:
        """The load begins anew with another engine; its bytes stay held."""
        del end
        self._scheduler.load_lost(model, device, self._clock.time())

    def offload_done(self, model: str, device: int, offloaded: Offloaded) -> None:
        """The weights are in the host's memory."""
        now = self._clock.time()
        self._carry_out(self._scheduler.offload_done(model, device, offloaded, now))
        self.demand_changed()

    def engine_lost(self, model: str, device: int, end: EngineEnd) -> None:
        """The engine ended by itself; its runs learn it from the engine."""
        del end
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
                    waited = self._scheduler.waited(request_id)
                    savings = self._scheduler.savings(request_id)
                    self._waiting.pop(request_id).grant(engine, waited, savings)
                case RefuseRequest(request_id, error_code, message, waited):
                    refusal = RefusedError(error_code, message, waited)
                    self._waiting.pop(request_id).refuse(refusal)
                case LoadModel(model, device):
                    self._load(model, device)
                case OffloadModel(model, device):
                    self._pool.offload(model, device)
                case UnloadModel(model, device):
                    if self._scheduler.state.placements[model, device].doomed:
                        self.engine_leaks(model, device)
                    self._pool.unload(model, device)
                case _:
                    assert_never(command)
        self._set_timer()
        if not self._accounting:
            self._accounting = True  # once for all that happens in one turn of the loop
            self._clock.call_soon(self._account)

    def _load(self, model: str, device: int) -> None:
        self._pool.load(model, device)
        for waiting in self._waiting.values():
            if waiting.request.model == model:
                waiting.loads()
        self.demand_changed()

    def _account(self) -> None:
        self._accounting = False
        self._scheduler.account(self._clock.time())

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
