"""Signs of life: what is taken for a hang, and what isn't."""

import pytest

from daemon.engines.heartbeat import Heartbeats
from daemon.engines.limits import HealthLimits

LIMITS = HealthLimits(hang_floor_s=120, hang_factor=10, ping_every_s=10, ping_within_s=60)


class Watched:
    """An engine that is looked at every second, as the watch does."""

    def __init__(self, *, pongs: bool = True) -> None:
        self.now = 1000.0
        self.pongs = pongs
        self.pings = 0
        self.beats = Heartbeats(LIMITS, self.now)

    def until(self, seconds: float) -> str | None:
        """Let time pass; return what was found, and stop there."""
        end = self.now + seconds
        while self.now < end:
            self.now += 1
            if (reason := self.beats.look(self.now)) is not None:
                return reason
            if self.beats.ping_due(self.now):
                self.pings += 1
                if self.pongs:
                    self.beats.heard()
        return None

    def begin(self, run_id: str = "run", handler: str = "video") -> None:
        self.beats.begun(run_id, handler, self.now)

    def step(self, step: str, run_id: str = "run") -> None:
        self.beats.step(run_id, step, self.now)


def test_a_run_without_a_step_is_hung_after_the_floor() -> None:
    """The sentence says which run, and since when."""
    engine = Watched()
    engine.begin()

    assert engine.until(119) is None
    assert engine.until(1) == "its video run took no step since it began 120 s ago"


def test_steps_keep_a_run_alive_however_long_it_takes() -> None:
    """There is no fixed time for a run."""
    engine = Watched()
    engine.begin()
    for number in range(1, 100):
        assert engine.until(100) is None
        engine.step(f"generating_video {number} of 99")


def test_a_hang_names_the_last_step() -> None:
    """Where it stood still helps to find out why."""
    engine = Watched()
    engine.begin()
    engine.until(1)
    engine.step("generating_video 3 of 20")

    assert (
        engine.until(200)
        == "the last step of its video run, generating_video 3 of 20, was 120 s ago"
    )


def test_a_slow_handler_gets_ten_times_its_longest_gap() -> None:
    """Also one between the last step and the end, as decoding takes; other handlers don't."""
    engine = Watched()
    engine.begin()
    engine.until(5)
    engine.step("decoding")
    engine.until(30)
    engine.beats.ended("run", engine.now)

    engine.begin("next")
    engine.begin("picture", "image")
    assert "image run" in (engine.until(299) or "")
    engine.beats.ended("picture", engine.now)
    assert engine.until(179) is None
    assert "video run" in (engine.until(1) or "")


def test_each_run_is_watched_for_itself() -> None:
    """The steps of one run say nothing of another one in the same engine."""
    engine = Watched()
    engine.begin("stuck")
    engine.begin("alive")
    for _ in range(11):
        assert engine.until(10) is None
        engine.step("generating_video", "alive")

    assert engine.until(10) is not None


def test_an_engine_without_runs_is_not_hung() -> None:
    """It answers its pings, one in ten seconds; a run that ended isn't waited for."""
    engine = Watched()
    engine.begin()
    engine.beats.ended("run", engine.now)

    assert engine.until(3600) is None
    assert engine.pings == 360


def test_an_unanswered_ping_is_a_hang() -> None:
    """Counted from the first ping that nothing was heard after, whatever was heard before."""
    engine = Watched()
    engine.until(25)
    engine.pongs = False

    assert engine.until(64) is None
    assert engine.until(1) == "it answered no ping for 60 s"


def test_a_ping_may_wait_longer_while_weights_move() -> None:
    """Imports hold the interpreter; a stopped process must not hold up others' loads for long."""
    engine = Watched(pongs=False)
    engine.beats.move_begun("load")
    assert engine.until(309) is None
    assert engine.until(1) == "it answered no ping for 300 s"

    engine = Watched(pongs=False)
    engine.beats.move_begun("load")
    assert engine.until(200) is None
    engine.beats.move_ended()
    engine.beats.heard()
    assert engine.until(71) == "it answered no ping for 60 s"


def test_a_silent_engine_is_told_with_its_run() -> None:
    """The run that starves the rest is likely the cause."""
    engine = Watched(pongs=False)
    engine.begin()
    engine.step("decoding")

    assert engine.until(70) == (
        "it answered no ping for 60 s, and the last step of its video run, decoding, was 70 s ago"
    )


def test_anything_heard_is_an_answer() -> None:
    """A step comes from the same event loop as a pong."""
    engine = Watched(pongs=False)
    for _ in range(10):
        assert engine.until(60) is None
        engine.beats.heard()


def test_a_watcher_that_stood_still_itself_blames_nobody() -> None:
    """A stopped container thaws: what the engine has sent meanwhile isn't read yet."""
    engine = Watched()
    engine.begin()
    engine.until(3)
    engine.pongs = False
    engine.until(8)
    engine.now += 3600

    assert engine.until(5) is None
    engine.beats.heard()
    engine.step("generating_video 1 of 9")
    engine.pongs = True
    assert engine.until(160) is None, "the stop counted as a gap of this handler"
    assert engine.until(60) is not None, "the stop is forgiven once, not for ever"


@pytest.mark.parametrize("first", ["step", "end", "beginning"])
def test_what_had_waited_to_be_read_is_no_gap(first: str) -> None:
    """Messages of the time in which the daemon stood still are read before the watcher looks."""
    engine = Watched()
    engine.begin()
    engine.until(3)
    engine.now += 3600

    match first:
        case "step":
            engine.step("generating_video 1 of 9")
        case "end":
            engine.beats.ended("run", engine.now)
            engine.begin()
        case _:
            engine.begin("another")
            engine.step("generating_video 1 of 9")
    engine.until(1)

    assert engine.until(160) is not None, "the stop counted as a gap of this handler"


def test_what_is_unknown_is_ignored() -> None:
    """A step may be on its way when its run has ended."""
    engine = Watched()
    engine.step("generating_video", "gone")
    engine.beats.ended("gone", engine.now)

    assert engine.until(600) is None


@pytest.mark.parametrize(
    ("limits", "expected"),
    [(HealthLimits(), 1.0), (HealthLimits(0.4), 0.1), (HealthLimits(ping_within_s=2), 0.5)],
)
def test_short_limits_are_looked_at_often(limits: HealthLimits, expected: float) -> None:
    """So that they are found in time."""
    assert limits.look_every_s == pytest.approx(expected)
