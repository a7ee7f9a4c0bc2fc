"""A feed, its clock, and runs of jobs, for tests of what is shown of them."""

from collections.abc import Sequence
from typing import Any

from scripted import a_job

from daemon.feed import Feed
from daemon.job_run import JobRun
from daemon.jobs import Outcome, Recorded
from daemon.journal import Event, Follower
from daemon.values import StepReport

Shown = tuple[int, str, Any]


class FeedBench:
    """A feed, its clock, and runs of jobs."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.feed = Feed(clock=lambda: self.time)

    def run(self, **job: Any) -> JobRun:
        self.time += 1
        return JobRun(a_job(**job), self.time, lambda: self.time)

    def begin(self, **job: Any) -> JobRun:
        """Return a run that has shown its first step, event 1."""
        run = self.run(**job)
        self.step(run, current_step="waiting_for_gpu")
        return run

    def step(
        self,
        run: JobRun,
        text: str = "",
        preview: bytes | None = None,
        *,
        current_step: str = "s",
        fraction: float = 0.0,
    ) -> None:
        report = StepReport(current_step, fraction, 1, 8, text, preview)
        run.progress_of(report)
        self.feed.stepped(run, report)

    def end(self, run: JobRun, outcome: Outcome | None, *, stale: bool = False) -> None:
        self.feed.ended(run, outcome, Recorded.STALE if stale else Recorded.RECORDED)

    def follow(self, run: JobRun, number: int = 0) -> Follower:
        follower = self.feed.follow(run.job.id, number)
        assert follower is not None
        return follower


def shown(events: Sequence[Event]) -> list[Shown]:
    """Return numbers, kinds, and what matters of the data."""
    return [(event.number, event.kind.value, _gist(event)) for event in events]


def _gist(event: Event) -> Any:
    data = event.data
    for name in ("current_step", "text", "jpeg", "reason", "status"):
        if name in data:
            return data[name]
    return data["offset"]
