"""How the jobs of this process went, in the figures of `/status`. Pure."""

from collections import deque
from dataclasses import dataclass

_WINDOW = 200
"""Completed runs that the average looks back on, so that it follows a change within minutes."""


@dataclass(frozen=True, slots=True)
class Performance:
    """Figures since the process started.

    Attributes:
        jobs_completed: runs that ended with a result.
        jobs_failed: runs that ended with an error for good.
        average_generation_time: seconds, over the last 200 completed runs; None before the first.
        success_rate: completed of completed and failed, percent; None before the first.
        system_prompt_respect_rate: language models' results that rest on exactly the caller's
            messages, which is proven for each, percent; None before the first.
    """

    jobs_completed: int = 0
    jobs_failed: int = 0
    average_generation_time: float | None = None
    success_rate: float | None = None
    system_prompt_respect_rate: float | None = None


class RunStats:
    """Counts finished runs. Cancelled, released and retried ones say nothing of success."""

    def __init__(self) -> None:
        self._completed = 0
        self._failed = 0
        self._seconds: deque[float] = deque(maxlen=_WINDOW)

    def completed(self, seconds: float) -> None:
        """Count a run that ended with a result after `seconds` of generation."""
        self._completed += 1
        self._seconds.append(seconds)

    def failed(self) -> None:
        """Count a run that ended with an error for good."""
        self._failed += 1

    def performance(self) -> Performance:
        """Return the figures as they are now, rounded as they are shown."""
        ended = self._completed + self._failed
        return Performance(
            jobs_completed=self._completed,
            jobs_failed=self._failed,
            average_generation_time=(
                round(sum(self._seconds) / len(self._seconds), 2) if self._seconds else None
            ),
            success_rate=round(100 * self._completed / ended, 1) if ended else None,
        )
