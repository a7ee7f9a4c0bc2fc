"""One scheduler and the world that it lives in: what it commands is noted, and checked.

The world counts bytes by itself (`shadow`), independently of the ledgers.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import pytest
from hypothesis import note
from lessons import Lessons
from shadow import Key, Shadow
from virtual_gpu import ALL, device

from daemon.jobs import ErrorCode
from daemon.scheduling.commands import (
    Command,
    LoadModel,
    OffloadModel,
    RefuseRequest,
    StartRun,
    UnloadModel,
)
from daemon.scheduling.figures import Figures, Learner
from daemon.scheduling.learning import NOT_MEASURED, Measured
from daemon.scheduling.models import GIB
from daemon.scheduling.scheduler import Scheduler
from daemon.values import AdmissionRequest, Loaded, Offloaded

BOUND_S = 60.0


class HistoryWorld:
    """Carries nothing out by itself: what is commanded stands in lists until an event ends it.

    `sound` is false once something has gone wrong.
    """

    def __init__(
        self, sizes: Sequence[int], host_gb: int, runs_included: Collection[str] = ()
    ) -> None:
        devices = [device(size, index) for index, size in enumerate(sizes)]
        models = [spec.including_runs() if spec.name in runs_included else spec for spec in ALL]
        self.scheduler = Scheduler(
            models, devices, max_pass_over_s=BOUND_S, host_bytes=host_gb * GIB
        )
        self.shadow = Shadow(
            {spec.name: spec for spec in models},
            {each.index: each.usable_bytes for each in devices},
            host_bytes=host_gb * GIB,
        )
        self.lessons = Lessons(self.shadow)
        self.now = 0.0
        self.sound = True
        self.events = 0
        """So many times was the scheduler told something."""
        self.submitted: dict[str, tuple[AdmissionRequest, float]] = {}
        self.waiting: set[str] = set()
        self.ended: set[str] = set()
        self.loading: list[Key] = []
        self.unloading: list[Key] = []
        self.offloading: list[Key] = []
        self.overrun: set[Key] = set()

    # Commands.

    def tell(self, event: Callable[..., list[Command]], *facts: object) -> None:
        """Tell the scheduler of an event and note what it commands."""
        self.sound = False
        self.take(event(*facts))

    def take(self, commands: list[Command]) -> None:
        """Note what an event led to."""
        self.events += 1
        for command in commands:
            note(command)
            match command:
                case StartRun(name, _, on):
                    self.start(name, on)
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

    def start(self, name: str, on: int) -> None:
        """See what a run gets: the bytes that such runs take, and an account of its wait."""
        self.waiting.remove(name)
        each, submitted_s = self.submitted[name]
        run = self.scheduler.state.runs[name]
        # One whose model found too little memory gets a device for itself, without asking for it.
        each = replace(each, exclusive=run.request.exclusive)
        self.shadow.start(each, on, run.promised)
        self.lessons.start(each, on, run.promised)
        if each.exclusive:
            # He takes what is there, once it is enough by the table.
            by_table = self.scheduler.state.estimates.activation(*run.lane.key)
            assert run.promised >= by_table
        else:
            assert run.promised == self.lessons.reservation(each)
        assert sum(run.waited) == pytest.approx(self.now - submitted_s)

    # What was before.

    def recall(self, name: str, weights: int, peaks: list[int]) -> None:
        """Let it know what a predecessor learned of a model's fast runs and of its last load."""
        learned = Figures(weights=(weights,), peaks={("fast", 0, 1): tuple(peaks)})
        Learner(self.scheduler.state).recall({name: learned})
        self.lessons.peaks[name, "fast", 0, 1] += peaks
        if weights <= self.shadow.models[name].budget_bytes:
            self.shadow.measured[name] = [weights]

    def adopt(self, kept: Sequence[tuple[str, float]]) -> None:
        """Let it take over engines of the first device: models, and their share of the table's."""
        taken = []
        for name, share in kept:
            measured = int(self.shadow.models[name].weights_bytes * share)
            self.shadow.loading.add((name, 0))
            self.shadow.loaded(name, 0, measured)
            taken.append((name, 0, Loaded(measured, 0.0, offloads=True)))
        commands = self.scheduler.adopt(taken, self.now)
        left = [(each.model, 0) for each in commands if isinstance(each, UnloadModel)]
        self.overrun |= {key for key in left if key[0] in dict(kept)}
        self.take(commands)

    # Events.

    def submit(self, each: AdmissionRequest) -> None:
        """Let a request come."""
        self.submitted[each.id] = each, self.now
        self.waiting.add(each.id)
        self.tell(self.scheduler.submit, each, self.now)

    def withdraw(self, name: str) -> None:
        """Let a request that waits go."""
        self.waiting.remove(name)
        self.ended.add(name)
        self.tell(self.scheduler.withdraw, name, self.now)

    def end(self, name: str, measured: Measured = NOT_MEASURED) -> None:
        """Let a run end; who is found to leak then is noted before anything starts again."""
        self.lessons.end(name, measured)
        del self.shadow.runs[name]
        self.ended.add(name)
        self.sound = False
        commands = self.scheduler.run_ended(name, self.now, measured)
        doomed = self.scheduler.state.doomed
        self.shadow.leaking |= {(each.model.name, each.device) for each in doomed}
        self.take(commands)

    def load_done(self, at: int = 0, share: float = 1.0, *, offloads: bool = False) -> None:
        """Let a load be done that took so large a share of what the table says."""
        name, on = self.loading.pop(at % len(self.loading))
        measured = int(self.shadow.models[name].weights_bytes * share)
        self.shadow.loaded(name, on, measured)
        loaded = Loaded(measured, 0.0, offloads=offloads)
        self.sound = False
        commands = self.scheduler.load_done(name, on, loaded, self.now)
        if UnloadModel(name, on) in commands:
            self.overrun.add((name, on))
        self.take(commands)

    def load_failed(self, at: int, *, overflow: bool = False) -> None:
        """Let a load fail, for want of memory or for another reason."""
        name, on = self.loading.pop(at % len(self.loading))
        self.shadow.gone(name, on)
        code = ErrorCode.VRAM_OVERFLOW if overflow else ErrorCode.MODEL_LOAD_FAILED
        self.tell(self.scheduler.load_failed, name, on, code, "bad", self.now)

    def offload_done(self, left_gb: float = 0.4, share: float = 1.0) -> None:
        """Let weights be in the host's memory, where they take so large a share of what was."""
        name, on = self.offloading.pop(0)
        host_bytes = int(self.shadow.host[name, on] * share)
        moved = Offloaded(int(left_gb * GIB), host_bytes, 0.5)
        self.shadow.offload_done(name, on, moved.left_bytes, host_bytes)
        self.tell(self.scheduler.offload_done, name, on, moved, self.now)

    def unload_done(self, at: int = 0) -> None:
        """Let an engine be gone."""
        name, on = self.unloading.pop(at % len(self.unloading))
        self.shadow.gone(name, on)
        self.overrun.discard((name, on))
        self.tell(self.scheduler.unload_done, name, on, self.now)

    def lose(self, name: str, on: int) -> None:
        """Let an engine die: the scheduler is told by whoever notices."""
        if (name, on) in self.offloading:
            self.offloading.remove((name, on))
        self.shadow.lose(name, on)
        self.unloading.append((name, on))

    def others_use(self, on: int, n_bytes: int) -> None:
        """Let others use so many bytes of a device."""
        self.shadow.outside[on] = n_bytes
        self.tell(self.scheduler.used_by_others, on, n_bytes, self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass, with a tick at each deadline."""
        until = self.now + seconds
        while (deadline := self.scheduler.next_deadline(self.now)) and deadline <= until:
            assert deadline > self.now
            self.now = deadline
            self.tell(self.scheduler.tick, self.now)
        self.now = until
        assert len(self.scheduler.snapshot(self.now).waiting) == len(self.waiting)

    def finish(self) -> None:
        """Let everything end well: then nobody waits any more."""
        for on in self.shadow.usable:
            self.others_use(on, 0)
        for _ in range(1000):
            if not self.go_on():
                break
            self.bytes_and_slots_hold()
            self.every_request_is_in_one_place()
        assert not self.waiting

    def go_on(self) -> bool:
        """Let the next thing end well; False: nothing goes on and nobody waits."""
        if self.loading:
            self.load_done(offloads=self.shadow.host_bytes > 0)
        elif self.offloading:
            self.offload_done()
        elif self.unloading:
            self.unload_done()
        elif self.shadow.runs:
            self.end(min(self.shadow.runs))
        elif self.waiting:
            self.wait(30.0)
        else:
            return False
        return True

    # What holds at any moment.

    def check(self) -> None:
        """Assert all of it."""
        self.sound = False
        self.bytes_and_slots_hold()
        self.every_request_is_in_one_place()
        self.nothing_is_left_undecided()
        self.leaking_engines_go()
        self.coverage_is_right()
        self.work_never_stands_still()
        self.sound = True

    def bytes_and_slots_hold(self) -> None:
        """Neither the world's count nor the ledgers' own finds anything."""
        self.shadow.check(self.overrun)
        self.shadow.compare(self.scheduler.state)
        for ledger in self.scheduler.state.ledgers.values():
            ledger.check()

    def every_request_is_in_one_place(self) -> None:
        """It waits, runs or has ended, and all counts agree."""
        state = self.scheduler.state
        assert set(state.waiting) == self.waiting
        assert set(state.runs) == set(self.shadow.runs)
        assert sum(state.waiting_of.values()) == len(self.waiting)
        assert sum(lane.waiting for lane in state.lanes) == len(self.waiting)
        assert sum(lane.running for lane in state.lanes) == len(state.runs)
        assert set(self.submitted) == self.waiting | set(state.runs) | self.ended

    def nothing_is_left_undecided(self) -> None:
        """An event's answer is all that there is to do, and demand is for something."""
        assert self.scheduler.tick(self.now) == []
        for each in self.scheduler.demand(self.now):
            assert each.count > 0

    def coverage_is_right(self) -> None:
        """It tells how many measured runs there were, and who stayed within his promise."""
        counted = self.scheduler.state.estimates.coverage
        told = {key: (each.runs, each.within) for key, each in counted.items()}
        assert told == {key: (len(all_), sum(all_)) for key, all_ in self.lessons.within.items()}

    def leaking_engines_go(self) -> None:
        """They stay no longer than their runs."""
        for name, on in self.shadow.leaking & self.shadow.resident:
            assert self.shadow.living(name, on), f"{name} leaks and is idle"

    def work_never_stands_still(self) -> None:
        """Who waits has something to wait for: a run, a load, an unload or a deadline."""
        going_on = self.shadow.runs or self.loading or self.unloading or self.offloading
        going_on = going_on or any(self.shadow.outside.values())
        assert not self.waiting or going_on or self.scheduler.next_deadline(self.now)
