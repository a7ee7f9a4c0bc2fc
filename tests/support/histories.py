"""Random events in random order for one scheduler: everything that can happen to it.

The world here carries commands out in any order and at any time, and counts bytes by itself
(`virtual_gpu.Shadow`), independently of the ledger.
"""

import random
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from virtual_gpu import ALL, Shadow, device, request

from daemon.jobs import ErrorCode
from daemon.scheduling.commands import (
    Command,
    LoadModel,
    OffloadModel,
    RefuseRequest,
    StartRun,
    UnloadModel,
)
from daemon.scheduling.learning import Measured
from daemon.scheduling.models import GIB
from daemon.scheduling.scheduler import Scheduler
from daemon.values import Loaded, Offloaded

CLASSES = [(spec.name, quality) for spec in ALL for quality in spec.qualities]
BOUND_S = 60.0


class Histories(RuleBasedStateMachine):
    """One scheduler, and everything that can happen to it."""

    @initialize(
        sizes=st.sampled_from([(24,), (21,), (24, 13), (22, 24)]),
        host_gb=st.sampled_from([0, 16, 64]),
    )
    def begin(self, sizes: tuple[int, ...], host_gb: int) -> None:
        devices = [device(size, index) for index, size in enumerate(sizes)]
        self.scheduler = Scheduler(ALL, devices, max_pass_over_s=BOUND_S, host_bytes=host_gb * GIB)
        self.shadow = Shadow(
            {spec.name: spec for spec in ALL},
            {each.index: each.usable_bytes for each in devices},
            host_bytes=host_gb * GIB,
        )
        self.now = 0.0
        self.submitted = {}
        self.waiting: set[str] = set()
        self.ended: set[str] = set()
        self.loading: list[tuple[str, int]] = []
        self.unloading: list[tuple[str, int]] = []
        self.offloading: list[tuple[str, int]] = []
        self.overrun: set[tuple[str, int]] = set()

    def tell(self, event: Callable[..., list[Command]], *facts: object) -> None:
        """Tell the scheduler of an event and take what it commands; errors make it unsound."""
        self.sound = False
        self.take(event(*facts))

    def take(self, commands: list[Command]) -> None:
        self.sound = False
        for command in commands:
            match command:
                case StartRun(name, _, on):
                    self.waiting.remove(name)
                    run = self.scheduler.state.runs[name]
                    self.shadow.start(self.submitted[name], on, run.promised)
                case RefuseRequest(name):
                    self.waiting.remove(name)
                    self.ended.add(name)
                case LoadModel(name, on):
                    self.shadow.load(name, on)
                    self.loading.append((name, on))
                case UnloadModel(name, on):
                    self.shadow.unload(name, on)
                    self.unloading.append((name, on))
                case OffloadModel(name, on):
                    self.shadow.offload(name, on)
                    self.offloading.append((name, on))
        self.sound = True

    @rule(
        pick=st.sampled_from(CLASSES),
        interactive=st.booleans(),
        age=st.floats(0, 100),
        exclusive=st.sampled_from([False, False, False, True]),
        size=st.sampled_from([0, 1 << 20]),
        priority=st.sampled_from([0, 0, 5]),
    )
    def submit(
        self,
        pick: tuple[str, str],
        interactive: bool,
        age: float,
        exclusive: bool,
        size: int,
        priority: int,
    ) -> None:
        name = f"r{len(self.submitted)}"
        each = request(
            name,
            *pick,
            at=self.now - age,
            interactive=interactive,
            exclusive=exclusive,
            size=size,
            priority=priority,
        )
        self.submitted[name] = each
        self.waiting.add(name)
        self.tell(self.scheduler.submit, each, self.now)

    @precondition(lambda self: self.waiting)
    @rule(choice=st.randoms(use_true_random=False))
    def withdraw(self, choice: random.Random) -> None:
        name = choice.choice(sorted(self.waiting))
        self.waiting.remove(name)
        self.ended.add(name)
        self.tell(self.scheduler.withdraw, name, self.now)

    @precondition(lambda self: self.shadow.runs)
    @rule(
        choice=st.randoms(use_true_random=False),
        peak=st.none() | st.floats(0, 25),
        held=st.none() | st.floats(0, 25),
        overflowed=st.booleans(),
    )
    def end_run(
        self,
        choice: random.Random,
        peak: float | None,
        held: float | None,
        overflowed: bool,
    ) -> None:
        name = choice.choice(sorted(self.shadow.runs))
        measured = Measured(
            completed=not overflowed,
            peak_bytes=None if peak is None else int(peak * GIB),
            held_bytes=None if held is None else int(held * GIB),
            overflowed=overflowed,
        )
        self.end(name, measured)

    def end(self, name: str, measured: Measured = Measured()) -> None:  # noqa: B008  frozen
        del self.shadow.runs[name]
        self.ended.add(name)
        self.tell(self.scheduler.run_ended, name, self.now, measured)

    @rule(gb=st.sampled_from([0, 0, 0.5, 3, 30]), choice=st.randoms(use_true_random=False))
    def others_use(self, gb: float, choice: random.Random) -> None:
        on = choice.choice(sorted(self.shadow.usable))
        self.shadow.outside[on] = int(gb * GIB)
        self.tell(self.scheduler.used_by_others, on, int(gb * GIB), self.now)

    @precondition(lambda self: self.offloading)
    @rule(left=st.sampled_from([0, 0.4, 30]))
    def offload_done(self, left: float) -> None:
        name, on = self.offloading.pop(0)
        moved = Offloaded(int(left * GIB), self.shadow.host[name, on], 0.5)
        self.shadow.offload_done(name, on, moved.left_bytes)
        self.tell(self.scheduler.offload_done, name, on, moved, self.now)

    @precondition(lambda self: self.loading)
    @rule(share=st.sampled_from([0.5, 1.0, 1.0, 1.0, 1.1, 1.6]), offloads=st.booleans())
    def load_done(self, share: float, offloads: bool) -> None:
        name, on = self.loading.pop(0)
        measured = int(self.shadow.models[name].weights_bytes * share)
        self.shadow.loaded(name, on, measured)
        loaded = Loaded(measured, 0.0, offloads=offloads)
        self.sound = False
        commands = self.scheduler.load_done(name, on, loaded, self.now)
        if UnloadModel(name, on) in commands:
            self.overrun.add((name, on))
        self.take(commands)

    @precondition(lambda self: self.loading)
    @rule()
    def load_failed(self) -> None:
        name, on = self.loading.pop(0)
        self.shadow.gone(name, on)
        code = ErrorCode.MODEL_LOAD_FAILED
        self.tell(self.scheduler.load_failed, name, on, code, "bad", self.now)

    @precondition(lambda self: self.unloading)
    @rule(last=st.booleans())
    def unload_done(self, last: bool) -> None:
        name, on = self.unloading.pop(-1 if last else 0)
        self.shadow.gone(name, on)
        self.overrun.discard((name, on))
        self.tell(self.scheduler.unload_done, name, on, self.now)

    @precondition(lambda self: self.shadow.resident or self.shadow.offloaded or self.offloading)
    @rule(choice=st.randoms(use_true_random=False))
    def lose(self, choice: random.Random) -> None:
        alive = {*self.shadow.resident, *self.shadow.offloaded, *self.offloading}
        name, on = choice.choice(sorted(alive))
        if (name, on) in self.offloading:
            self.offloading.remove((name, on))
        self.shadow.lose(name, on)
        self.unloading.append((name, on))
        self.tell(self.scheduler.engine_lost, name, on, self.now)

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (deadline := self.scheduler.next_deadline(self.now)) and deadline <= until:
            assert deadline > self.now
            self.now = deadline
            self.tell(self.scheduler.tick, self.now)
        self.now = until

    @invariant()
    def bytes_and_slots_hold(self) -> None:
        self.shadow.check(self.overrun)
        for ledger in self.scheduler.state.ledgers.values():
            ledger.check()

    @invariant()
    def every_request_is_in_one_place(self) -> None:
        state = self.scheduler.state
        assert set(state.waiting) == self.waiting
        assert set(state.runs) == set(self.shadow.runs)
        assert sum(state.waiting_of.values()) == len(self.waiting)
        assert sum(lane.waiting for lane in state.lanes) == len(self.waiting)
        assert sum(lane.running for lane in state.lanes) == len(state.runs)
        assert set(self.submitted) == self.waiting | set(state.runs) | self.ended

    @invariant()
    def nothing_is_left_undecided(self) -> None:
        assert self.scheduler.tick(self.now) == []
        for each in self.scheduler.demand(self.now):
            assert each.count > 0

    @invariant()
    def work_never_stands_still(self) -> None:
        """Who waits has something to wait for: a run, a load, an unload or a deadline."""
        going_on = self.shadow.runs or self.loading or self.unloading or self.offloading
        going_on = going_on or any(self.shadow.outside.values())
        assert not self.waiting or going_on or self.scheduler.next_deadline(self.now)

    def teardown(self) -> None:
        """Let everything end well: then nobody waits any more."""
        if not getattr(self, "sound", True) or not hasattr(self, "scheduler"):
            return  # what went wrong was told already
        for on in self.shadow.usable:
            self.shadow.outside[on] = 0
            self.tell(self.scheduler.used_by_others, on, 0, self.now)
        for _ in range(10_000):
            if self.loading:
                self.load_done(1.0, offloads=False)
            elif self.offloading:
                self.offload_done(0.4)
            elif self.unloading:
                self.unload_done(last=False)
            elif self.shadow.runs:
                self.end(min(self.shadow.runs))
            elif self.waiting:
                self.wait(30.0)
            else:
                break
            self.bytes_and_slots_hold()
            self.every_request_is_in_one_place()
        assert not self.waiting
