"""When held jobs will end: forecasts of the live queue, put on their rows, and held to account.

A forecast plays the scheduler's state on. What it expects is a mean; a factor, learned from how
earlier forecasts fared, makes it a promise that four of five jobs keep. How many did is reported.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from daemon.job_run import JobRun, Phase
from daemon.jobs import Completed, Outcome, Progress
from daemon.scheduling.forecast import Calibration, Forecast
from daemon.scheduling.seconds import Seen

INTERVAL_S = 1.0
"""Between two forecasts while jobs are held, at least."""

MOST_SHARE = 0.02
"""Of the event loop's time: a forecast of a long queue takes long, and comes less often for it."""

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


@dataclass
class Foreteller:
    """Foretells ends of held jobs.

    Args:
        forecast: plays the queue on.
        runs: the held jobs by request id.
        report: takes a row's progress.
        clock: monotonic seconds, the forecast's own.
    """

    forecast: Callable[[], Forecast]
    runs: Mapping[str, JobRun]
    report: Callable[[Progress], None]
    clock: Callable[[], float]
    calibration: Calibration = field(default_factory=Calibration)
    upload: Seen = field(default_factory=lambda: Seen(UPLOAD_S))
    last: Forecast | None = None
    _promises: dict[str, _Promise] = field(default_factory=dict)

    async def run(self) -> None:
        """Look ahead again and again, until cancelled."""
        while True:
            began_s = self.clock()
            if self.runs:
                self._try_to_look()
            await asyncio.sleep(pause_s(self.clock() - began_s))

    def _try_to_look(self) -> None:
        try:
            self.look()
        except Exception:  # noqa: BLE001 -- see below
            # It only foretells: a defect in it must not cost the worker its jobs.
            self.last = None
            _log.exception("nothing can be foretold")

    def look(self) -> None:
        """Make one forecast, and tell the rows that it is news to."""
        self.last = self.forecast()
        now, factor = self.last.made_s, self.calibration.factor
        for request_id, run in self.runs.items():
            ends_s = self.last.ends_s.get(request_id)
            if run.preparing or ends_s is None:
                continue
            if run.phase not in {Phase.WAITING, Phase.RUNNING}:
                continue
            expected_s = max(0.0, ends_s - now) + self.upload.expected_s
            if request_id not in self._promises:
                self._promises[request_id] = _Promise(now, expected_s, expected_s * factor)
            self._tell(run, now + expected_s * factor)

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
        """Hold a job's promise against when it ended; only a completed one says anything."""
        promise = self._promises.pop(str(run.job.claim_id), None)
        if not isinstance(outcome, Completed):
            return
        self.upload.observe(run.timings.get("uploading", 0.0))
        if promise is not None:
            took_s = self.clock() - promise.made_at
            self.calibration.observe(promise.expected_s, promise.promised_s, took_s)

    def report_of(self) -> dict[str, Any]:
        """Return what `/status` shows."""
        last, calibration = self.last, self.calibration
        waits = {} if last is None else last.next_wait_s
        return {
            "promised": calibration.promised,
            "kept": calibration.kept,
            "coverage": None if calibration.coverage is None else round(calibration.coverage, 4),
            "factor": round(calibration.factor, 3),
            "table_waits_s": {
                f"{model} {quality}": round(seconds, 1)
                for (model, quality), seconds in waits.items()
            },
        }


def pause_s(took_s: float) -> float:
    """Return how long to wait after a forecast that took so many seconds."""
    return max(INTERVAL_S, took_s / MOST_SHARE)
