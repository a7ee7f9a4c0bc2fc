"""Random events in random order: what holds whatever happens.

The world here carries commands out in any order and at any time, and counts bytes by itself
(`virtual_gpu.Shadow`), independently of the ledger.
"""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from virtual_gpu import ALL, VIDEO, Shadow, VirtualGpu, device, model, request

from daemon.jobs import ErrorCode
from daemon.scheduling.commands import Command, LoadModel, RefuseRequest, StartRun, UnloadModel
from daemon.scheduling.scheduler import Scheduler

CLASSES = [(spec.name, quality) for spec in ALL for quality in spec.qualities]
BOUND_S = 60.0


class Interleavings(RuleBasedStateMachine):
    """One scheduler, and everything that can happen to it."""

    @initialize(sizes=st.sampled_from([(24,), (21,), (24, 13), (22, 24)]))
    def begin(self, sizes: tuple[int, ...]) -> None:
        devices = [device(size, index) for index, size in enumerate(sizes)]
        self.scheduler = Scheduler(ALL, devices, max_pass_over_s=BOUND_S)
        self.shadow = Shadow(
            {spec.name: spec for spec in ALL}, {each.index: each.usable_bytes for each in devices}
        )
        self.now = 0.0
        self.submitted = {}
        self.waiting: set[str] = set()
        self.ended: set[str] = set()
        self.loading: list[tuple[str, int]] = []
        self.unloading: list[tuple[str, int]] = []
        self.overrun: set[tuple[str, int]] = set()

    def take(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case StartRun(name, _, on):
                    self.waiting.remove(name)
                    self.shadow.start(self.submitted[name], on)
                case RefuseRequest(name):
                    self.waiting.remove(name)
                    self.ended.add(name)
                case LoadModel(name, on):
                    self.shadow.load(name, on)
                    self.loading.append((name, on))
                case UnloadModel(name, on):
                    self.shadow.unload(name, on)
                    self.unloading.append((name, on))

    @rule(pick=st.sampled_from(CLASSES), interactive=st.booleans(), age=st.floats(0, 100))
    def submit(self, pick: tuple[str, str], interactive: bool, age: float) -> None:
        name = f"r{len(self.submitted)}"
        each = request(name, *pick, at=self.now - age, interactive=interactive)
        self.submitted[name] = each
        self.waiting.add(name)
        self.take(self.scheduler.submit(each, self.now))

    @precondition(lambda self: self.waiting)
    @rule(choice=st.randoms(use_true_random=False))
    def withdraw(self, choice: random.Random) -> None:
        name = choice.choice(sorted(self.waiting))
        self.waiting.remove(name)
        self.ended.add(name)
        self.take(self.scheduler.withdraw(name, self.now))

    @precondition(lambda self: self.shadow.runs)
    @rule(choice=st.randoms(use_true_random=False))
    def end_run(self, choice: random.Random) -> None:
        name = choice.choice(sorted(self.shadow.runs))
        self.end(name)

    def end(self, name: str) -> None:
        del self.shadow.runs[name]
        self.ended.add(name)
        self.take(self.scheduler.run_ended(name, self.now))

    @precondition(lambda self: self.loading)
    @rule(share=st.sampled_from([0.5, 1.0, 1.0, 1.0, 1.1, 1.6]))
    def load_done(self, share: float) -> None:
        name, on = self.loading.pop(0)
        measured = int(self.shadow.models[name].weights_bytes * share)
        self.shadow.loaded(name, on, measured)
        commands = self.scheduler.load_done(name, on, measured, self.now)
        if UnloadModel(name, on) in commands:
            self.overrun.add((name, on))
        self.take(commands)

    @precondition(lambda self: self.loading)
    @rule()
    def load_failed(self) -> None:
        name, on = self.loading.pop(0)
        self.shadow.gone(name, on)
        code = ErrorCode.MODEL_LOAD_FAILED
        self.take(self.scheduler.load_failed(name, on, code, "bad", self.now))

    @precondition(lambda self: self.unloading)
    @rule(last=st.booleans())
    def unload_done(self, last: bool) -> None:
        name, on = self.unloading.pop(-1 if last else 0)
        self.shadow.gone(name, on)
        self.overrun.discard((name, on))
        self.take(self.scheduler.unload_done(name, on, self.now))

    @precondition(lambda self: self.shadow.resident)
    @rule(choice=st.randoms(use_true_random=False))
    def lose(self, choice: random.Random) -> None:
        name, on = choice.choice(sorted(self.shadow.resident))
        self.shadow.lose(name, on)
        self.unloading.append((name, on))
        self.take(self.scheduler.engine_lost(name, on, self.now))

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (deadline := self.scheduler.next_deadline(self.now)) and deadline <= until:
            assert deadline > self.now
            self.now = deadline
            self.take(self.scheduler.tick(self.now))
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
        assert sum(lane.waiting for lane in state.lanes.values()) == len(self.waiting)
        assert sum(lane.running for lane in state.lanes.values()) == len(state.runs)
        assert set(self.submitted) == self.waiting | set(state.runs) | self.ended

    @invariant()
    def nothing_is_left_undecided(self) -> None:
        assert self.scheduler.tick(self.now) == []
        for each in self.scheduler.demand(self.now):
            assert each.count > 0

    @invariant()
    def work_never_stands_still(self) -> None:
        """Who waits has something to wait for: a run, a load, an unload or a deadline."""
        going_on = self.shadow.runs or self.loading or self.unloading
        assert not self.waiting or going_on or self.scheduler.next_deadline(self.now)

    def teardown(self) -> None:
        """Let everything end well: then nobody waits any more."""
        if not hasattr(self, "scheduler"):
            return
        for _ in range(10_000):
            if self.loading:
                self.load_done(1.0)
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


Interleavings.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestInterleavings = pytest.mark.timeout(60)(Interleavings.TestCase)


Arrival = tuple[float, tuple[str, str], bool, float]
ARRIVALS = st.lists(
    st.tuples(
        st.floats(0, 300),
        st.sampled_from([each for each in CLASSES if each[0] != "noop"]),
        st.booleans(),
        st.floats(0.5, 20),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=40, deadline=None)
@given(ARRIVALS, st.sampled_from([(24,), (21,), (24, 13)]))
def test_nobody_is_passed_over_for_ever(arrivals: list[Arrival], sizes: tuple[int, ...]) -> None:
    """Each lane gets a run within the bound, and the turns of those that were overdue before it.

    A turn is a drain (at most one run), an unload and a load.
    """
    gpu = VirtualGpu(ALL, [device(size, index) for index, size in enumerate(sizes)])
    lanes = set()
    for number, (at, pick, interactive, run_s) in enumerate(arrivals):
        lanes.add((*pick, interactive))
        each = request(f"{number}", *pick, at=at, interactive=interactive)
        gpu.submit_at(at, each, run_s=run_s)
    gpu.finish()

    assert set(gpu.started) == set(gpu.submitted)
    turn_s = 20 + gpu.unload_s + gpu.load_s
    longest = max(_passed_over(gpu, lane) for lane in lanes)
    assert longest <= BOUND_S + len(lanes) * turn_s


def _passed_over(gpu: VirtualGpu, lane: tuple[str, str, bool]) -> float:
    """Return the longest time in which somebody of the lane waited and nobody of it ran."""
    names = [
        name
        for name, each in gpu.submitted.items()
        if (each.model, each.quality, each.interactive) == lane
    ]
    changes = [(gpu.submitted[name].created_s, 1, 0) for name in names]
    changes += [(gpu.started[name], -1, 1) for name in names]
    changes += [(gpu.ended[name], 0, -1) for name in names]
    longest, since, waiting, running = 0.0, None, 0, 0
    for at, more_waiting, more_running in sorted(changes, key=lambda change: change[0]):
        if since is not None:
            longest = max(longest, at - since)
        waiting, running = waiting + more_waiting, running + more_running
        passed_over = waiting > 0 and running == 0
        since = (since if since is not None else at) if passed_over else None
    return longest


@pytest.mark.parametrize("seed", range(3))
def test_two_exclusive_models_keep_the_bound_sharply(seed: int) -> None:
    """With one rival the longest wait is the bound, one drain, one unload and one load."""
    choose = random.Random(seed)
    other = model("other", 20, 12, 2, fast=(20, 2))
    gpu = VirtualGpu([VIDEO, other], [device(24)])
    for number in range(300):
        name = choose.choice(["video", "other"])
        at = choose.uniform(0, 600)
        each = request(f"{number}", name, at=at)
        gpu.submit_at(at, each, run_s=choose.uniform(1, 15))
    gpu.finish()

    for name in ("video", "other"):
        assert _passed_over(gpu, (name, "fast", False)) <= BOUND_S + 15 + 1 + 10
