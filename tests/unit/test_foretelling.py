"""Promised ends: what rows are told, when they are told again, and what promises learn from."""

import asyncio
from collections.abc import Callable, Mapping
from uuid import UUID

import pytest
from scripted import a_job

from daemon.foretelling import SLICE_S, Foreteller, pause_s
from daemon.job_run import JobRun, Phase
from daemon.jobs import Cancelled, Completed, ErrorCode, Failed, Outcome, Progress, Released
from daemon.scheduling.forecast import Forecast, Foresight

FACTOR = 1.25
UPLOAD_S = 0.5


class Bench:
    """A foreteller whose forecasts and clock are the test's."""

    def __init__(self) -> None:
        self.now = 100.0
        self.runs: dict[str, JobRun] = {}
        self.left_s: dict[str, float] = {}
        self.told: list[Progress] = []
        self.error: Exception | None = None
        self.backlog = False
        self.spent_s = 0.0
        self.steps = 0
        self.foreteller = Foreteller(
            self.foresee,
            self.runs,
            self.told.append,
            lambda: self.now,
            lambda: self.backlog,
            lambda: self.spent_s,
            lambda _: asyncio.sleep(0),
        )

    def foresee(self) -> Foresight:
        """Make a forecast in so many steps, each of which takes a millisecond."""
        for _ in range(self.steps):
            self.spent_s += 0.001
            yield
        if self.error is not None:
            raise self.error
        return self.forecast()

    def forecast(self) -> Forecast:
        ends_s = {name: self.now + left_s for name, left_s in self.left_s.items()}
        return Forecast(self.now, {}, ends_s, {("video", "fast"): 12.34}, {})

    def holds(self, left_s: float | None = None, phase: Phase = Phase.RUNNING) -> JobRun:
        """Hold another job, of which the forecast says so much."""
        run = JobRun(a_job(), self.now, lambda: self.now, phase=phase)
        self.runs[str(run.job.claim_id)] = run
        if left_s is not None:
            self.left_s[str(run.job.claim_id)] = left_s
        return run

    def looks(self, left_s: Mapping[UUID, float] | None = None) -> list[UUID]:
        """Look ahead, the forecast having changed to this; return who was told something."""
        self.left_s |= {str(claim_id): value for claim_id, value in (left_s or {}).items()}
        self.told.clear()
        self.foreteller.take(self.forecast())
        return [progress.claim_id for progress in self.told]

    def ends(self, run: JobRun, outcome: Outcome | None = None) -> None:
        del self.runs[str(run.job.claim_id)]
        self.foreteller.ended(run, outcome)


def of_one_job(left_s: float) -> tuple[Bench, JobRun]:
    bench = Bench()
    run = bench.holds(left_s)
    assert bench.looks() == [run.job.claim_id]
    return bench, run


def test_jobs_that_wait_and_run_are_promised_an_end() -> None:
    """The expected seconds, with those of the upload, times a factor; in the row as a moment."""
    bench = Bench()
    waiting, running = bench.holds(80, Phase.WAITING), bench.holds(10)

    assert bench.looks() == [waiting.job.claim_id, running.job.claim_id]
    assert waiting.ends_at == 100 + (80 + UPLOAD_S) * FACTOR
    assert running.ends_at == 100 + (10 + UPLOAD_S) * FACTOR
    assert all(progress.estimated_completion for progress in bench.told)


def test_nothing_is_promised_of_what_is_not_foreseen() -> None:
    """Neither of a job that the forecast doesn't know, nor of one that only uploads."""
    bench = Bench()
    runs = [bench.holds(), bench.holds(1, Phase.UPLOADING), bench.holds(1, Phase.FINISHING)]

    assert bench.looks() == []
    assert [run.ends_at for run in runs] == [None, None, None]


@pytest.mark.parametrize(
    ("left_s", "later_s", "told"),
    [
        (10, 10 + 1.9 / FACTOR, False),
        (10, 10 + 2.1 / FACTOR, True),
        (10, 10 - 2.1 / FACTOR, True),
        (1000, 1080, False),
        (1000, 1120, True),
        (1000, 850, True),
    ],
)
def test_a_row_is_told_again_only_what_is_news(left_s: float, later_s: float, told: bool) -> None:
    """An end that moved by more than two seconds, and by more than a tenth of what is left."""
    bench, run = of_one_job(left_s)
    before = run.ends_at

    news = bench.looks({run.job.claim_id: later_s})

    assert news == ([run.job.claim_id] if told else [])
    assert (run.ends_at != before) is told


def test_small_moves_add_up_to_news() -> None:
    """Each forecast is held against what the row was told, not against the last forecast."""
    bench, run = of_one_job(10)

    news = [bool(bench.looks({run.job.claim_id: 10 + moved})) for moved in (1, 1.5, 2)]

    assert news == [False, False, True]


def test_the_first_promise_counts() -> None:
    """A job that is promised more later hasn't kept what it was told first."""
    bench, run = of_one_job(10)
    bench.looks({run.job.claim_id: 60})
    bench.now += 30
    bench.ends(run, Completed({}))

    calibration = bench.foreteller.kept
    assert (calibration.promised, calibration.kept, calibration.coverage) == (1, 0, 0.0)


@pytest.mark.parametrize(
    "outcome",
    [Failed("no", ErrorCode.GENERATION_FAILED), Cancelled(), Released("the worker stops"), None],
)
def test_only_completed_jobs_keep_or_break_promises(outcome: Outcome | None) -> None:
    """The others were cut short: they say nothing, and their promises are forgotten."""
    bench, run = of_one_job(10)
    bench.now += 1
    bench.ends(run, outcome)
    assert bench.foreteller.kept.coverage is None

    bench.runs[str(run.job.claim_id)] = run
    bench.ends(run, Completed({}))
    assert bench.foreteller.kept.promised == 0


def test_promises_learn_from_what_jobs_took() -> None:
    """Jobs that take twice of what is expected are promised twice as much, and then keep it."""
    bench = Bench()
    for _ in range(10):
        run = bench.holds(10)
        bench.looks()
        bench.now += 2 * (10 + bench.foreteller.upload.expected_s)
        bench.ends(run, Completed({}))
    report = bench.foreteller.report_of()
    assert (report["promised"], report["kept"], report["coverage"]) == (10, 0, 0.0)
    assert report["running"]["factor"] == 2

    late = bench.holds(10)
    bench.looks()
    expected_s = 10 + bench.foreteller.upload.expected_s
    assert late.ends_at == pytest.approx(bench.now + 2 * expected_s)
    bench.now += 1.9 * expected_s
    bench.ends(late, Completed({}))
    assert bench.foreteller.report_of()["coverage"] == pytest.approx(1 / 11, abs=1e-4)


def test_uploads_are_expected_as_they_were_seen() -> None:
    """A store that is slow moves every promise."""
    bench = Bench()
    run = bench.holds()
    run.timings["uploading"] = 20.0
    bench.ends(run, Completed({}))

    expected_s = bench.foreteller.upload.expected_s
    assert UPLOAD_S < expected_s < 20
    late = bench.holds(10)
    bench.looks()
    assert late.ends_at == 100 + (10 + expected_s) * FACTOR


def test_the_report_says_what_the_tables_jobs_will_wait() -> None:
    """By class; nothing before the first look, and no coverage without a completed job."""
    bench = Bench()
    nothing = {"promised": 0, "kept": 0, "coverage": None, "factor": FACTOR}
    assert bench.foreteller.report_of() == nothing | {
        "waiting": nothing,
        "running": nothing,
        "table": nothing,
        "table_waits_s": {},
    }
    bench.looks()
    assert bench.foreteller.report_of()["table_waits_s"] == {"video fast": 12.3}


def test_forecasts_of_long_queues_come_less_often() -> None:
    """They hold up the event loop, which claims and finishes jobs: for a fiftieth of its time."""
    assert [pause_s(took_s) for took_s in (0, 0.001, 0.02, 0.1)] == [1, 1, 1, 5]


async def until(met: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if met():
            return
        await asyncio.sleep(0)
    raise AssertionError("it doesn't come")


async def test_a_long_forecast_is_made_in_slices() -> None:
    """Nobody waits for more than one of them, and it counts with all of them."""
    bench = Bench()
    run = bench.holds(10)
    bench.steps = 100
    before_s, longest_s, rests = 0.0, 0.0, 0
    looking = asyncio.create_task(bench.foreteller.run())

    def looked() -> bool:
        nonlocal before_s, longest_s, rests
        longest_s = max(longest_s, bench.spent_s - before_s)
        rests += bench.spent_s > before_s
        before_s = bench.spent_s
        return run.ends_at is not None

    await until(looked)
    looking.cancel()

    assert longest_s < SLICE_S + 0.0015
    assert rests >= 20
    assert bench.spent_s >= 0.1


async def test_who_only_waits_in_the_table_is_foreseen_too() -> None:
    """While nothing is held and nothing waits nobody looks, and the last forecast is forgotten."""
    bench = Bench()
    bench.backlog = True
    service = asyncio.create_task(bench.foreteller.run())
    await until(lambda: bench.foreteller.last is not None)
    service.cancel()
    bench.backlog = False
    service = asyncio.create_task(bench.foreteller.run())
    await until(lambda: bench.foreteller.last is None)
    service.cancel()


def test_waiting_and_running_jobs_are_promised_by_what_became_of_their_like() -> None:
    """A run that knows its pace isn't as uncertain as a place in the queue."""
    bench = Bench()
    for _ in range(12):
        for phase, took_s in ((Phase.WAITING, 30), (Phase.RUNNING, 10)):
            run = bench.holds(10, phase)
            bench.looks()
            bench.now += took_s
            bench.ends(run, Completed({}))
    report = bench.foreteller.report_of()

    assert (report["waiting"]["promised"], report["running"]["promised"]) == (12, 12)
    assert report["waiting"]["factor"] > 2
    assert report["running"]["factor"] < 1
    assert report["promised"] == 24


def test_what_rows_were_told_in_the_queue_is_held_to_account() -> None:
    """By what the claim says of it; who was told nothing says nothing."""
    bench = Bench()
    for foretold_s, took_s in ((30, 29), (30, 31), (None, 5)):
        run = JobRun(a_job(foretold_s=foretold_s), bench.now, lambda: bench.now)
        bench.runs[str(run.job.claim_id)] = run
        bench.now += took_s
        bench.ends(run, Completed({}))
    table = bench.foreteller.report_of()["table"]

    assert (table["promised"], table["kept"]) == (2, 1)
    assert table["factor"] == pytest.approx(FACTOR - 0.02 + 0.08)


async def test_a_defect_in_the_forecast_costs_the_worker_nothing() -> None:
    """The service goes on, without a forecast that may be wrong."""
    bench, _ = of_one_job(10)
    bench.error = AssertionError("odd")
    service = asyncio.create_task(bench.foreteller.run())
    await until(lambda: bench.foreteller.last is None)

    assert not service.done()
    assert bench.foreteller.report_of()["table_waits_s"] == {}
    service.cancel()
