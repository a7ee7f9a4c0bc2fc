"""When held jobs will end: forecasts of the live queue, put on their rows, and held to account.

A forecast plays the scheduler's state on. What it expects is a mean; a factor, learned from how
earlier forecasts fared, makes it a promise that four of five jobs keep: one for jobs that wait, one
for those that run and know their own pace. How many did is reported.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from daemon.job_run import JobRun, Phase
from daemon.jobs import Completed, Outcome, Progress
from daemon.scheduling.calibration import Calibration, Correction, Count
from daemon.scheduling.forecast import Forecast, Foresight
from daemon.scheduling.seconds import Seen

INTERVAL_S = 1.0
"""Between two forecasts, at least."""

MOST_SHARE = 0.02
"""Of the event loop's time: a forecast of a long queue takes long, and comes less often for it."""

SLICE_S = 0.004
REST_S = 0.02
"""A forecast is made in slices of so many seconds, with a rest after each: nobody who is claimed,
renewed or asked for over HTTP waits for more than a slice."""

UPLOAD_S = 0.5
"""What storing a result is expected to take, until some were seen."""

NEWS_S = 2.0
NEWS_SHARE = 0.1
"""A row is told another moment when it moved by more than both: seconds, and share of the rest."""

_log = structlog.get_logger("daemon.foretelling")


@dataclass(slots=True)
class _Promise:
    """What a job was told first: seconds from `made_at` on."""

    made_at: float
    expected_s: float
    promised_s: float
    by: Calibration


@dataclass
class Foreteller:
    """Foretells ends of held jobs.

    Args:
        forecast: begins to play the queue on.
        runs: the held jobs by request id.
        report: takes a row's progress.
        clock: monotonic seconds, the forecast's own.
        backlog: says whether jobs wait that nobody holds.
        timer: seconds, by which slices are measured.
    """

    forecast: Callable[[], Foresight]
    runs: Mapping[str, JobRun]
    report: Callable[[Progress], None]
    clock: Callable[[], float]
    backlog: Callable[[], bool] = lambda: False
    timer: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    waiting: Calibration = field(default_factory=Calibration)
    running: Calibration = field(default_factory=Calibration)
    table: Correction = field(default_factory=Correction)
    """Of what rows were told while nobody had claimed them."""
    upload: Seen = field(default_factory=lambda: Seen(UPLOAD_S))
    last: Forecast | None = None
    _promises: dict[str, _Promise] = field(default_factory=dict)

    async def run(self) -> None:
        """Look ahead again and again, until cancelled."""
        while True:
            spent_s = 0.0
            if self.runs or self.backlog():
                spent_s = await self._try_to_look()
            else:
                self.last = None
            await self.sleep(pause_s(spent_s))

    async def _try_to_look(self) -> float:
        """Make a forecast in slices, and tell it; return the seconds that it took."""
        steps, spent_s = self.forecast(), 0.0
        try:
            while True:
                began_s = self.timer()
                forecast = self._slice(steps, began_s)
                spent_s += self.timer() - began_s
                if forecast is not None:
                    self.take(forecast)
                    return spent_s
                await self.sleep(REST_S)
        except Exception:  # noqa: BLE001 -- see below
            # It only foretells: a defect in it must not cost the worker its jobs.
            self.last = None
            _log.exception("nothing can be foretold")
            return spent_s

    def _slice(self, steps: Foresight, began_s: float) -> Forecast | None:
        try:
            while self.timer() - began_s < SLICE_S:
                next(steps)
        except StopIteration as end:
            forecast: Forecast = end.value
            return forecast
        return None

    def take(self, forecast: Forecast) -> None:
        """Take a forecast, and tell the rows that it is news to."""
        self.last, now = forecast, forecast.made_s
        for request_id, run in self.runs.items():
            ends_s = forecast.ends_s.get(request_id)
            if run.preparing or ends_s is None:
                continue
            if run.phase not in {Phase.WAITING, Phase.RUNNING}:
                continue
            by = self.waiting if run.phase is Phase.WAITING else self.running
            expected_s = max(0.0, ends_s - now) + self.upload.expected_s
            promised_s = expected_s * by.factor
            if request_id not in self._promises:
                self._promises[request_id] = _Promise(now, expected_s, promised_s, by)
            self._tell(run, now + promised_s)

    def _tell(self, run: JobRun, ends_at: float) -> None:
        before, now = run.ends_at, self.clock()
        if before is not None:
            moved, left = abs(ends_at - before), max(0.0, ends_at - now)
            if moved <= max(NEWS_S, NEWS_SHARE * left):
                return
        run.ends_at = ends_at
        if not run.direct:
            self.report(run.progress())

    def ended(self, run: JobRun, outcome: Outcome | None) -> None:
        """Hold a job's promises against when it ended; only a completed one says anything."""
        promise = self._promises.pop(str(run.job.claim_id), None)
        if not isinstance(outcome, Completed):
            return
        self.upload.observe(run.timings.get("uploading", 0.0))
        now = self.clock()
        if promise is not None:
            promise.by.observe(promise.expected_s, promise.promised_s, now - promise.made_at)
        if run.job.foretold_s is not None:
            self.table.observe(kept=now - run.claimed_at <= run.job.foretold_s)

    @property
    def kept(self) -> Count:
        """What became of all promises that were made to held jobs."""
        waiting, running = self.waiting, self.running
        return Count(waiting.promised + running.promised, waiting.kept + running.kept)

    def report_of(self) -> dict[str, Any]:
        """Return what `/status` shows."""
        waits = {} if self.last is None else self.last.next_wait_s
        return {
            **_shown(self.kept),
            "factor": round(self.waiting.factor, 3),
            "waiting": _shown(self.waiting) | {"factor": round(self.waiting.factor, 3)},
            "running": _shown(self.running) | {"factor": round(self.running.factor, 3)},
            "table": _shown(self.table) | {"factor": round(self.table.factor, 3)},
            "table_waits_s": {
                f"{model} {quality}": round(seconds, 1)
                for (model, quality), seconds in waits.items()
            },
        }


def _shown(count: Count) -> dict[str, Any]:
    coverage = count.coverage
    return {
        "promised": count.promised,
        "kept": count.kept,
        "coverage": None if coverage is None else round(coverage, 4),
    }


def pause_s(took_s: float) -> float:
    """Return how long to wait after a forecast that took so many seconds."""
    return max(INTERVAL_S, took_s / MOST_SHARE)
