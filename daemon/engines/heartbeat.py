"""Whether an engine hangs, from when its runs took steps and when it was heard. Pure bookkeeping.

A run is given no fixed time: how long it may take depends on what was asked for. It is taken for
hung when no step came for far longer than its handler ever took between two steps in this engine.
The wait before the first step and the one after the last (decoding, encoding) are such gaps too.

The engine as a whole is taken for hung when it answers no ping: then its event loop doesn't run,
as when a library holds the interpreter, or somebody has stopped the process. While weights come or
go it has more time for that: libraries are imported, and memory is pinned. A move of weights whose
thread is stuck leaves the loop alone: it is taken for hung when nothing is done (`stillness`).

All moments are seconds of one monotonic clock. When the watcher itself was late, all of the daemon
may have stood still, and what the engine had sent meanwhile isn't read yet: that time is forgiven,
whichever comes first after it, the watcher's look or a step that had waited to be read.
"""

from dataclasses import dataclass

from daemon.engines.figures import Activity
from daemon.engines.limits import HealthLimits
from daemon.engines.stillness import Stillness


@dataclass(slots=True)
class _Run:
    handler: str
    beat_s: float
    """When it began or took its last step."""
    step: str = ""


MOVING_FACTOR = 5
"""So many times as long may a ping wait while weights move."""


class Heartbeats:
    """The signs of life of one engine."""

    def __init__(self, limits: HealthLimits, now: float) -> None:
        self._limits = limits
        self._runs: dict[str, _Run] = {}
        self._longest_s: dict[str, float] = {}
        self._looked_s = now
        self._pinged_s = now
        self._move: Stillness | None = None
        """While weights come or go."""
        self._asked_s: float | None = None
        """When the first ping was sent that nothing was heard after."""

    def begun(self, run_id: str, handler: str, now: float) -> None:
        """Note the beginning of a run."""
        self._forgive(now)
        self._runs[run_id] = _Run(handler, now)

    def step(self, run_id: str, step: str, now: float) -> None:
        """Note a step; unknown runs are ignored."""
        self._forgive(now)
        if (run := self._runs.get(run_id)) is not None:
            self._close_gap(run, now)
            run.step = step

    def ended(self, run_id: str, now: float) -> None:
        """Note the end of a run, however it ended."""
        self._forgive(now)
        if (run := self._runs.pop(run_id, None)) is not None:
            self._close_gap(run, now)

    def move_begun(self, deed: str) -> None:
        """Note that weights begin to come or go; `deed` is what that is called."""
        self._move = Stillness(deed, self._limits)

    def move_ended(self) -> None:
        """Note that the weights are where they are wanted."""
        self._move = None

    def measured(self, activity: Activity, now: float) -> None:
        """Note what the engine has done so far; of interest while weights move."""
        self._forgive(now)
        if self._move is not None:
            self._move.measured(activity, now)

    def heard(self) -> None:
        """Note that anything came from the engine: its event loop runs."""
        self._asked_s = None

    def ping_due(self, now: float) -> bool:
        """Say whether to send a ping now; one is then taken for sent."""
        if now - self._pinged_s < self._limits.ping_every_s:
            return False
        self._pinged_s = now
        if self._asked_s is None:
            self._asked_s = now
        return True

    def look(self, now: float) -> str | None:
        """Return why the engine is taken for hung, as a part of a sentence; None: it isn't."""
        self._forgive(now)
        self._looked_s = now
        stalest = min(self._runs.values(), key=lambda run: run.beat_s, default=None)
        within_s = self._limits.ping_within_s * (MOVING_FACTOR if self._move else 1)
        if self._asked_s is not None and now - self._asked_s >= within_s:
            silence = f"it answered no ping for {now - self._asked_s:.4g} s"
            return silence if stalest is None else f"{silence}, and {_words(stalest, now)}"
        if self._move is not None and (still := self._move.why()) is not None:
            return still
        for run in self._runs.values():
            if now - run.beat_s >= self._patience_s(run.handler):
                return _words(run, now)
        return None

    def _patience_s(self, handler: str) -> float:
        longest = self._longest_s.get(handler, 0.0)
        return max(self._limits.hang_floor_s, self._limits.hang_factor * longest)

    def _close_gap(self, run: _Run, now: float) -> None:
        longest = self._longest_s.get(run.handler, 0.0)
        self._longest_s[run.handler] = max(longest, now - run.beat_s)
        run.beat_s = now

    def _forgive(self, now: float) -> None:
        late_s = now - self._looked_s - 2 * self._limits.look_every_s
        if late_s <= 0:
            return
        self._looked_s += late_s
        if self._move is not None:
            self._move.forgive(late_s)
        for run in self._runs.values():
            run.beat_s += late_s
        if self._asked_s is not None:
            self._asked_s += late_s


def _words(run: _Run, now: float) -> str:
    seconds = f"{now - run.beat_s:.4g} s"
    if not run.step:
        return f"its {run.handler} run took no step since it began {seconds} ago"
    return f"the last step of its {run.handler} run, {run.step}, was {seconds} ago"
