"""Random events in random order for one scheduler: everything that can happen to it.

Picks are numbers, so that a failing history reads well: its commands stand among its steps.
"""

from collections.abc import Iterable
from typing import TypeVar

from history_world import HistoryWorld
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from virtual_gpu import ALL, request

from daemon.scheduling.learning import Measured
from daemon.scheduling.models import GIB

CLASSES = [(spec.name, quality) for spec in ALL for quality in spec.qualities]
ANY = st.integers(0, 15)
SIZES = [(24,), (21,), (24, 13), (22, 24)]
KINDS: list[dict[str, object]] = [
    {"interactive": interactive, "exclusive": exclusive, "size": size, "user": user, **more}
    for interactive in (False, True)
    for exclusive in (False, False, False, True)
    for size in (0, 1 << 20)
    for user in (None, "a", "b")
    for more in ({}, {}, {"priority": 5})
]
"""Of requests, as often as each shall come."""
KEPT = [
    (),
    (),
    (("sdxl", 1.0), ("chat", 0.5)),
    (("sdxl", 1.0), ("wan", 1.0), ("video", 1.0)),
    (("wan", 1.0), ("video", 1.6)),
]
"""Engines of a predecessor on the first device, with their share of the table's weights."""

_Name = TypeVar("_Name", str, tuple[str, int], int)


def nth(choices: Iterable[_Name], at: int) -> _Name:
    """Return one of the choices, whichever the number means."""
    ordered = sorted(choices)
    return ordered[at % len(ordered)]


class Histories(RuleBasedStateMachine):
    """One scheduler, and everything that can happen to it."""

    world: HistoryWorld | None = None

    @initialize(
        sizes=st.sampled_from(SIZES),
        host_gb=st.sampled_from([0, 16, 64]),
        runs_included=st.sampled_from([(), ("chat",), ("chat", "sdxl")]),
        known=st.booleans(),
        kept=st.sampled_from(KEPT),
    )
    def begin(
        self,
        sizes: tuple[int, ...],
        host_gb: int,
        runs_included: tuple[str, ...],
        known: bool,
        kept: tuple[tuple[str, float], ...],
    ) -> None:
        self.world = HistoryWorld(sizes, host_gb, runs_included)
        if known:
            self.world.recall("sdxl", 7 * GIB, [GIB // 2] * 7)
        if kept:
            self.world.adopt(kept)

    @rule(pick=st.sampled_from(CLASSES), age=st.integers(0, 100), more=st.sampled_from(KINDS))
    def submit(self, pick: tuple[str, str], age: int, more: dict[str, object]) -> None:
        name = f"r{len(self.world.submitted)}"
        self.world.submit(request(name, *pick, at=self.world.now - age, **more))

    @precondition(lambda self: self.world.waiting)
    @rule(at=ANY)
    def withdraw(self, at: int) -> None:
        self.world.withdraw(nth(self.world.waiting, at))

    @rule(pick=st.sampled_from(CLASSES), count=st.sampled_from([0, 1, 40]))
    def count_table(self, pick: tuple[str, str], count: int) -> None:
        self.world.tell(self.world.scheduler.count_unclaimed, {pick: count}, self.world.now)

    @precondition(lambda self: self.world.shadow.runs)
    @rule(
        at=ANY,
        peak=st.none() | st.integers(0, 25),
        held=st.sampled_from([None, 0, 20]),
        overflowed=st.booleans(),
    )
    def end_run(self, at: int, peak: int | None, held: int | None, overflowed: bool) -> None:
        measured = Measured(
            completed=not overflowed,
            peak_bytes=None if peak is None else peak * GIB,
            held_bytes=None if held is None else held * GIB,
            overflowed=overflowed,
        )
        self.world.end(nth(self.world.shadow.runs, at), measured)

    @precondition(lambda self: self.world.shadow.runs)
    @rule(at=ANY, seconds=st.floats(0, 100))
    def expect_end(self, at: int, seconds: float) -> None:
        world = self.world
        world.scheduler.expect_end(nth(world.shadow.runs, at), world.now + seconds)

    @precondition(lambda self: self.world.shadow.resident)
    @rule(at=ANY)
    def leak(self, at: int) -> None:
        """An engine holds much more after each run: four of them show it."""
        shadow = self.world.shadow
        name, on = nth(shadow.resident, at)
        for held_gb in (100, 150, 200, 250):
            self.submit((name, "fast"), 0, {})
            running = self._running(name, on)
            if not running:
                return  # others have a better right
            self.world.end(running[0], Measured(held_bytes=held_gb * GIB))
        assert (name, on) in shadow.leaking

    @precondition(lambda self: self.world.shadow.resident)
    @rule(at=ANY, quality=st.sampled_from(["fast", "high"]), took_gb=st.sampled_from([0, 0.2, 1.5]))
    def practise(self, at: int, quality: str, took_gb: float) -> None:
        """Runs alike follow one another, and take the same: enough of them count."""
        shadow = self.world.shadow
        name, on = nth(shadow.resident, at)
        if quality not in shadow.models[name].qualities:
            return
        for _ in range(8):
            self.submit((name, quality), 0, {})
            running = self._running(name, on)
            if len(running) != 1:
                return
            peak = shadow.weights[name, on] + int(took_gb * GIB)
            self.world.end(running[0], Measured(peak_bytes=peak))

    @precondition(lambda self: self.world.shadow.resident)
    @rule(at=ANY, quality=st.sampled_from(["fast", "high"]), share=st.sampled_from([0.9, 1.5]))
    def crowd(self, at: int, quality: str, share: float) -> None:
        """Runs beside one another take less or more than all of them were promised."""
        shadow = self.world.shadow
        name, on = nth(shadow.resident, at)
        if quality not in shadow.models[name].qualities:
            return
        for _ in range(3):
            self.submit((name, quality), 0, {})
        for run_id in self._running(name, on):
            if run_id in self._running(name, on):
                most = self.world.lessons.runs[run_id].most
                peak = shadow.weights[name, on] + int(most * share)
                self.world.end(run_id, Measured(peak_bytes=peak))

    @precondition(lambda self: self.world.shadow.resident)
    @rule(at=ANY)
    def come_and_go(self, at: int) -> None:
        """An engine dies and is loaded again and again, and takes what the table says."""
        world = self.world
        key = nth(world.shadow.resident, at)
        for _ in range(8):
            world.lose(*key)
            world.tell(world.scheduler.engine_lost, *key, world.now)
            world.unload_done(world.unloading.index(key))
            if key not in world.loading:
                self.submit((key[0], "fast"), 0, {})
            if key not in world.loading:
                return
            world.load_done(world.loading.index(key), offloads=True)
            if key not in world.shadow.resident:
                return

    def _running(self, name: str, on: int) -> list[str]:
        shadow = self.world.shadow
        return [each for each, run in shadow.runs.items() if run in shadow.living(name, on)]

    @rule(gb=st.sampled_from([0, 0, 0.5, 3, 30]), at=ANY)
    def others_use(self, gb: float, at: int) -> None:
        self.world.others_use(nth(self.world.shadow.usable, at), int(gb * GIB))

    @precondition(lambda self: self.world.offloading)
    @rule(left_gb=st.sampled_from([0, 0.4, 30]), share=st.sampled_from([0.5, 1, 1, 1.3]))
    def offload_done(self, left_gb: float, share: float) -> None:
        self.world.offload_done(left_gb, share)

    @precondition(lambda self: self.world.loading)
    @rule(
        at=ANY,
        share=st.sampled_from([0.5, 1.0, 1.0, 1.0, 1.1, 1.6]),
        offloads=st.sampled_from([True, True, False]),
    )
    def load_done(self, at: int, share: float, offloads: bool) -> None:
        self.world.load_done(at, share, offloads=offloads)

    @precondition(lambda self: self.world.loading)
    @rule(at=ANY, overflow=st.booleans())
    def load_failed(self, at: int, overflow: bool) -> None:
        self.world.load_failed(at, overflow=overflow)

    @precondition(lambda self: self.world.unloading)
    @rule(at=ANY)
    def unload_done(self, at: int) -> None:
        self.world.unload_done(at)

    @precondition(lambda self: self._alive())
    @rule(at=ANY)
    def lose(self, at: int) -> None:
        name, on = nth(self._alive(), at)
        self.world.lose(name, on)
        self.world.tell(self.world.scheduler.engine_lost, name, on, self.world.now)

    def _alive(self) -> set[tuple[str, int]]:
        shadow = self.world.shadow
        return shadow.resident | shadow.offloading | shadow.offloaded

    @precondition(lambda self: self.world.shadow.runs)
    @rule(at=ANY)
    def find_engine_gone(self, at: int) -> None:
        """A run finds its engine gone, perhaps as the first one; whoever comes next is no news."""
        world = self.world
        name = nth(world.shadow.runs, at)
        run = world.shadow.runs[name]
        if not run.lost:
            world.lose(run.model, run.device)
        world.tell(world.scheduler.engine_gone, name, world.now)
        if (run.model, run.device) in world.unloading:
            world.tell(world.scheduler.engine_lost, run.model, run.device, world.now)

    @rule(steps=st.integers(1, 12))
    def go_on(self, steps: int) -> None:
        """Let some time be quiet: what goes on ends well, one after the other."""
        for _ in range(steps):
            self.world.go_on()
            self.world.check()

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @invariant()
    def everything_holds(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        """Let everything end well, unless something went wrong: that was told already."""
        if self.world is not None and self.world.sound:
            self.world.finish()
