"""Where a job's time went: seconds that add up to all of it, whatever it waited for."""

import pytest
from scripted import a_job

from daemon.job_run import Interruption, JobRun, Phase
from daemon.jobs import LeaseState
from daemon.values import NO_WAIT, StepReport, Waits

KEYS = ["wake_up", "queue", "vram", "switch", "load", "run", "upload"]


class Life:
    """A job's life, moment by moment. It is claimed at second 100."""

    def __init__(self, *, queued_s: float = 0.0, open_s: float = 0.0) -> None:
        self.now = 100.0
        self.run = JobRun(a_job(queued_s=queued_s), 100.0, lambda: self.now, open_s=open_s)

    def passes(self, seconds: float) -> "Life":
        self.now += seconds
        return self

    def asks(self, **so_far: float) -> "Life":
        """Ask for the GPU; `so_far`: what the scheduler says of the wait while it goes on."""
        self.run.enter(Phase.WAITING)
        self.run.asks_for_gpu(lambda: Waits(**NO_WAIT._asdict() | so_far))
        return self

    def is_granted(self, **waited: float) -> "Life":
        self.run.waited_for_gpu(Waits(**NO_WAIT._asdict() | waited))
        self.run.enter(Phase.RUNNING)
        return self

    def enters(self, phase: Phase) -> "Life":
        self.run.enter(phase)
        return self

    def account(self) -> dict[str, float]:
        """Return what isn't zero; the whole adds up to all the time since the row was due."""
        account = self.run.account()
        whole = self.run.job.queued_s + self.now - self.run.claimed_at
        assert sum(account.values()) == pytest.approx(whole)
        assert list(account) == KEYS
        return {name: round(value, 6) for name, value in account.items() if round(value, 6)}


def test_a_job_of_an_idle_worker() -> None:
    """While its type was in demand the row waited for nothing but being heard of and claimed."""
    life = Life(queued_s=0.03, open_s=600)
    life.passes(0.01).asks().is_granted()
    life.passes(2).enters(Phase.UPLOADING).passes(0.5).enters(Phase.FINISHING)

    assert life.account() == {"wake_up": 0.04, "run": 2, "upload": 0.5}


def test_a_row_that_nobody_wanted_waited_in_the_queue() -> None:
    """Being heard of begins when its type is in demand; before, backpressure kept it waiting."""
    life = Life(queued_s=60, open_s=0.02)
    life.passes(0.01).asks().passes(4).is_granted(queue=1, load=3)
    life.passes(5).enters(Phase.FINISHING)

    assert life.account() == {"wake_up": 0.03, "queue": 60.98, "load": 3, "run": 5}


def test_each_reason_has_its_own_seconds() -> None:
    """What the scheduler says of a wait is taken as it is."""
    life = Life()
    life.asks().passes(10).is_granted(queue=1, vram=2, switch=3, load=4)
    life.passes(1).enters(Phase.FINISHING)

    assert life.account() == {"queue": 1, "vram": 2, "switch": 3, "load": 4, "run": 1}


def test_two_rungs_of_the_ladder_add_up() -> None:
    """A run that is tried again waits and runs twice; it was heard of once."""
    life = Life(queued_s=0.5, open_s=600)
    life.passes(0.01).asks().passes(3).is_granted(load=3).passes(1)
    life.asks().passes(2).is_granted(switch=2).passes(4)
    life.enters(Phase.UPLOADING).passes(0.25).enters(Phase.FINISHING)

    assert life.account() == {"wake_up": 0.51, "switch": 2, "load": 3, "run": 5, "upload": 0.25}


def test_waiting_for_the_right_company_is_waiting_in_the_queue() -> None:
    """What passes before the scheduler is told of the job, it can't say anything of."""
    life = Life(queued_s=1, open_s=1)
    life.asks().passes(7).passes(2).is_granted(load=2)
    life.passes(1).enters(Phase.FINISHING)

    assert life.account() == {"wake_up": 1, "queue": 7, "load": 2, "run": 1}


def test_a_job_that_never_asked_for_the_gpu_adds_up_too() -> None:
    """As one whose request was refused, or that was released before it began."""
    life = Life(queued_s=2, open_s=1)
    life.passes(0.5).enters(Phase.FINISHING)

    assert life.account() == {"wake_up": 1.5, "queue": 1}


def test_the_account_is_known_at_each_moment() -> None:
    """While it waits by what the scheduler says, while it runs and uploads by the clock."""
    life = Life(queued_s=1, open_s=600)
    assert life.passes(0.5).account() == {"wake_up": 1.5}
    life.asks(load=3).passes(4)
    assert life.account() == {"wake_up": 1.5, "queue": 1, "load": 3}
    life.is_granted(load=4).passes(2)
    assert life.account() == {"wake_up": 1.5, "load": 4, "run": 2}
    life.enters(Phase.UPLOADING).passes(1)
    assert life.account() == {"wake_up": 1.5, "load": 4, "run": 2, "upload": 1}
    life.enters(Phase.FINISHING)
    assert life.account() == {"wake_up": 1.5, "load": 4, "run": 2, "upload": 1}


def test_who_is_stopped_while_it_waits_keeps_what_it_waited_for() -> None:
    """Afterwards the scheduler doesn't know the job any more."""
    life, waits = Life(), [Waits(queue=0, vram=0, switch=2, load=3)]
    life.run.asks_for_gpu(lambda: waits[-1])
    life.passes(5).run.interrupt(Interruption.CANCELLED)
    waits.append(NO_WAIT)
    life.enters(Phase.FINISHING).passes(9)

    assert life.run.account() == dict.fromkeys(KEYS, 0.0) | {"switch": 2, "load": 3}


def test_progress_comes_with_the_account_of_when_it_is_written() -> None:
    """To the millisecond: it is for those who read it."""
    life = Life(queued_s=1 / 3, open_s=600)
    progress = life.asks(queue=0.0).run.progress()
    life.passes(2 / 3)

    assert progress.timings() == dict.fromkeys(KEYS, 0.0) | {"wake_up": 0.333, "queue": 0.667}


def test_progress_never_falls_nor_reaches_the_end() -> None:
    """100 is written by the finish alone, and a run that is tried again doesn't go back."""
    run = Life().run

    percents = [
        run.progress_of(StepReport("step", fraction)).percent for fraction in (0.5, 0.2, 1.0)
    ]

    assert percents == [50, 50, 99]


def test_the_expected_end_is_told_when_it_is_known() -> None:
    """Nothing is made up before; what is overdue ends now."""
    life = Life()
    assert life.run.progress().estimated_completion is None
    life.run.ends_at = life.now + 60
    ahead = life.run.progress().estimated_completion
    life.run.ends_at = life.now - 60
    overdue = life.run.progress().estimated_completion

    assert ahead is not None
    assert overdue is not None
    assert 59 < (ahead - overdue).total_seconds() <= 60


def test_the_first_interruption_counts_and_none_after_the_end() -> None:
    """Once the outcome is being written nothing stops the job any more."""
    life = Life()
    life.run.lease_ended(LeaseState.CANCELLED)
    life.run.interrupt(Interruption.STOPPING)
    assert life.run.interruption is Interruption.CANCELLED

    ended = Life()
    ended.enters(Phase.FINISHING)
    ended.run.lease_ended(LeaseState.LOST)
    assert ended.run.interruption is None
