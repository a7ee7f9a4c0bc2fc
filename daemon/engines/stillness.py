"""Whether weights that move stand still, from what their engine says that it has done. Pure.

A thread that waits for a mount that doesn't answer, or for a lock that nobody lets go, uses nothing
at all. A slow load uses a little of something: it reads, it computes, or pages are fetched for it.
So a move is taken for still only when over all of `hang_floor_s` none of its figures changed by
more than an idle engine's do. A false alarm kills a good load, a missed one waits for
`load_timeout_s`; so what isn't known, or was only told late, counts as life.
"""

from daemon.engines.figures import Activity
from daemon.engines.limits import HealthLimits

IDLE_CORE = 0.001
"""Part of one core. The fake engine and diffusers were seen to use a tenth of it when idle, vLLM
whose core stands still half of it. Who looks twenty times a second whether another process has let
go of a lock, as caches of compiled kernels do, uses about as much or more, and is left in peace."""

LEAST_PROCESSOR_S = 0.05
"""Less than this can't be told, however short the limit: the kernel counts in hundredths of a
second, for each process and mode."""

IDLE_BYTES_S = 2**20 / 120
"""Log lines, and what is read for each ping; vLLM whose core stands still was seen to use a third
of it. At this rate a day brings less than a gigabyte."""

IDLE_FAULTS_S = 3 / 120
"""An idle engine's own pages may have been dropped too, and be fetched for an answer to a ping."""

PINGS_UNHEARD = 2
"""Of the time between two answers so many pings' worth counts: whether the engine could run at all
in the rest, nobody knows."""


class Stillness:
    """One move of weights. Moments are seconds of one monotonic clock."""

    def __init__(self, deed: str, limits: HealthLimits) -> None:
        self._deed = deed
        self._limits = limits
        self._first: Activity | None = None
        """What it had done when it was last seen to do something."""
        self._latest: Activity | None = None
        self._since_s = 0.0
        self._heard_s = 0.0

    def measured(self, activity: Activity, now: float) -> None:
        """Note what the engine has done so far."""
        self._forgive_silence(now)
        if self._first is None or self._changed(self._first, activity):
            self._first, self._since_s = activity, now
        self._latest, self._heard_s = activity, now

    def forgive(self, seconds: float) -> None:
        """Leave out so many seconds, in which nobody listened."""
        self._since_s += seconds
        self._heard_s += seconds

    def why(self) -> str | None:
        """Return why it is taken for hung, as a part of a sentence; None: it isn't."""
        still_s = self._heard_s - self._since_s
        if self._first is None or self._latest is None or still_s < self._limits.hang_floor_s:
            return None
        first, latest = self._first, self._latest
        return (
            f"its {self._deed} stood still for {still_s:.4g} s: "
            f"{abs(latest.processor_s - first.processor_s):.2g} s of processor time, "
            f"{abs(latest.io_bytes - first.io_bytes):,} bytes read or written, "
            f"{abs(latest.faults - first.faults)} pages fetched"
        )

    def _changed(self, before: Activity, after: Activity) -> bool:
        """Say whether there is life; sums that fall are a process that ended, which is life too."""
        within_s = self._limits.hang_floor_s
        processor_s = max(LEAST_PROCESSOR_S, IDLE_CORE * within_s)
        return (
            abs(after.processor_s - before.processor_s) >= processor_s
            or abs(after.io_bytes - before.io_bytes) >= IDLE_BYTES_S * within_s
            or abs(after.faults - before.faults) >= IDLE_FAULTS_S * within_s
        )

    def _forgive_silence(self, now: float) -> None:
        unheard_s = now - self._heard_s - PINGS_UNHEARD * self._limits.ping_every_s
        if unheard_s > 0:
            self._since_s += unheard_s
