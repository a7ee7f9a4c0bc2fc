"""Moves of weights: what is taken for standing still, and what shows life."""

import dataclasses

import pytest

from daemon.engines.figures import Activity
from daemon.engines.heartbeat import Heartbeats
from daemon.engines.limits import HealthLimits

LIMITS = HealthLimits(hang_floor_s=120, ping_every_s=10, ping_within_s=60)
KIB = 2**10


class Moved:
    """An engine whose weights move, looked at every second; its pongs tell what it has done."""

    def __init__(self, deed: str = "load", limits: HealthLimits = LIMITS) -> None:
        self.now = 1000.0
        self.done: Activity | None = Activity(7.0, 9_000_000, 40)
        self.pongs = True
        self.beats = Heartbeats(limits, self.now)
        self.beats.move_begun(deed)

    def until(self, seconds: float, **each_ping: float) -> str | None:
        """Let time pass, doing so much for each ping; return what was found, and stop there."""
        end = self.now + seconds
        while self.now < end:
            self.now += 1
            if (reason := self.beats.look(self.now)) is not None:
                return reason
            if self.beats.ping_due(self.now) and self.pongs:
                self.do(**each_ping)
                self.answer()
        return None

    def do(self, processor_s: float = 0, io_bytes: float = 0, faults: float = 0) -> None:
        if self.done is not None:
            self.done = Activity(
                self.done.processor_s + processor_s,
                self.done.io_bytes + int(io_bytes),
                self.done.faults + int(faults),
            )

    def answer(self) -> None:
        self.beats.heard()
        if self.done is not None:
            self.beats.measured(self.done, self.now)


def test_a_move_that_does_nothing_is_hung_after_the_floor() -> None:
    """Counted from the first answer, which says where it stood."""
    engine = Moved()

    assert engine.until(130) is None
    assert engine.until(1) == (
        "its load stood still for 120 s: "
        "0 s of processor time, 0 bytes read or written, 0 pages fetched"
    )


@pytest.mark.parametrize("deed", ["offload", "restore"])
def test_the_sentence_names_the_move_and_what_was_seen(deed: str) -> None:
    """An operator reads what it did use."""
    engine = Moved(deed)

    reason = engine.until(1000, processor_s=0.004, io_bytes=1234)

    assert reason == (
        f"its {deed} stood still for 120 s: "
        "0.048 s of processor time, 14,808 bytes read or written, 0 pages fetched"
    )


@pytest.mark.parametrize(
    "each_ping", [{"processor_s": 0.02}, {"io_bytes": 100 * KIB}, {"faults": 1}]
)
def test_a_little_of_any_figure_is_life(each_ping: dict[str, float]) -> None:
    """Two thousandths of a core, ten kilobytes a second, a page in ten seconds."""
    engine = Moved()

    assert engine.until(7200, **each_ping) is None


@pytest.mark.parametrize("name", ["processor_s", "io_bytes", "faults"])
def test_sums_that_fall_are_life(name: str) -> None:
    """A process ended whose work nobody counts any more: others go on perhaps."""
    engine = Moved()
    engine.until(100)
    assert engine.done is not None
    engine.done = Activity(
        **{field: getattr(engine.done, field) for field in engine.done.__struct_fields__}
        | {name: 1}
    )

    assert engine.until(120) is None
    assert engine.until(20) is not None


def test_life_at_the_end_of_the_wait_begins_a_new_one() -> None:
    """The whole of it has to be still."""
    engine = Moved()
    engine.until(125)
    engine.do(io_bytes=2**20)

    assert engine.until(125) is None
    assert engine.until(20) is not None


@pytest.mark.parametrize("when", ["always", "since the first answer"])
def test_without_figures_there_is_no_verdict(when: str) -> None:
    """A kernel that doesn't count; an engine that can't look at its processes any more."""
    engine = Moved()
    if when != "always":
        engine.until(15)
    engine.done = None

    assert engine.until(7200) is None


def test_one_answer_without_figures_changes_nothing() -> None:
    """A process may have ended in the middle of the reading."""
    engine = Moved()
    engine.until(55)
    engine.done, before = None, engine.done
    engine.until(10)
    engine.done = before

    assert "stood still for 120 s" in (engine.until(70) or "")


def test_what_nobody_could_hear_is_left_out() -> None:
    """An engine that couldn't even answer may not have been able to load either: a debugger."""
    engine = Moved()
    engine.until(15)
    engine.pongs = False
    assert engine.until(200) is None
    engine.pongs = True

    assert engine.until(90) is None
    assert engine.until(30) is not None


def test_a_daemon_that_stood_still_itself_blames_nobody() -> None:
    """The engine stood still with it, in the same container."""
    engine = Moved(limits=dataclasses.replace(LIMITS, ping_every_s=600))
    engine.beats.measured(Activity(1, 1, 1), engine.now)
    engine.until(20)
    engine.now += 400
    engine.beats.measured(Activity(1, 1, 1), engine.now)

    assert engine.until(5) is None
    engine.now += 400
    engine.until(1)
    engine.beats.measured(Activity(1, 1, 1), engine.now)
    assert engine.until(5) is None


def test_a_stop_of_the_daemon_is_forgiven_once() -> None:
    """What was seen before it counts on."""
    engine = Moved()
    engine.until(100)
    engine.now += 3600

    assert engine.until(10) is None
    assert engine.until(50) is not None


@pytest.mark.parametrize("ended", [True, False])
def test_only_moves_are_watched_so(ended: bool) -> None:
    """An engine without a run has nothing to do; each move begins anew."""
    engine = Moved()
    engine.until(100)
    engine.beats.move_ended()
    if ended:
        assert engine.until(7200) is None
        return
    engine.beats.move_begun("offload")

    assert engine.until(125) is None
    assert "its offload stood still" in (engine.until(20) or "")


def test_short_limits_need_as_little_life() -> None:
    """But for the grain of the kernel's clocks, which no engine can stay below."""
    engine = Moved(limits=HealthLimits(hang_floor_s=4, ping_every_s=1))
    assert engine.until(100, io_bytes=20 * KIB) is None
    assert engine.until(100, faults=1) is None

    assert "its load stood still for 4 s" in (engine.until(100, processor_s=0.01) or "")
