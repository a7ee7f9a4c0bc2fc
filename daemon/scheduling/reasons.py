"""Why requests wait, and for how long each reason held: one clock a lane. Pure.

The requests of a lane wait for the same thing: the first of them for what it lacks, the others for
that and their turn. So the lane keeps the clock, and a request's waits are the difference between
two of its readings.
"""

from enum import StrEnum

from daemon.values import NO_WAIT, Waits


class Reason(StrEnum):
    """What a lane waits for."""

    QUEUE = "queue"
    """Its turn: slots are taken, or somebody with a better right goes first."""
    VRAM = "vram"
    """Bytes that others hold, in work that goes on."""
    SWITCH = "switch"
    """Others that drain, unload or move to the host's memory for it."""
    LOAD = "load"
    """Its own model, which is being loaded, or can't be for the moment."""


class WaitClock:
    """Adds up seconds by reason; `turn` says which reason holds from now on."""

    __slots__ = ("_seconds", "_since_s", "reason")

    def __init__(self) -> None:
        self.reason = Reason.QUEUE
        self._seconds = NO_WAIT
        self._since_s = 0.0

    def at(self, now: float) -> Waits:
        """Return the reading at this moment."""
        passed = max(0.0, now - self._since_s)
        added = {self.reason.value: getattr(self._seconds, self.reason.value) + passed}
        return self._seconds._replace(**added)

    def turn(self, reason: Reason, now: float) -> None:
        """Let another reason hold from now on."""
        if reason is not self.reason:
            self._seconds = self.at(now)
            self._since_s = now
            self.reason = reason
