"""What one source has heard, over all its connections, and what that proves. Pure.

A source is *ready* when the other side says that it announces rows; it is *proven* when something
has come through it since: a hint, or a canary. Times are seconds of the caller's monotonic clock.
"""

import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from daemon.wakeups.link import Link

_KEPT_CANARIES = 16
"""Serials that are remembered: one is judged some seconds after it was sent."""
_KEPT_DELAYS = 100


def _nobody() -> None:
    """Do nothing: nobody wants to know."""


@dataclass(slots=True)
class SourceRecord:
    """What a source has heard and missed, for the judgement and for an operator."""

    name: str
    hints: int = 0
    generations: int = 0
    """Connections tried."""
    last_error: str | None = None
    """Why the last connection ended, free of secrets."""
    hint_at: float | None = None
    """When the last hint came."""
    proof_at: float | None = None
    """When anything last came through, hint or canary."""
    canaries: int = 0
    missed_canaries: int = 0
    missed_hints: int = 0
    """Jobs that a sweep found, and that this source should have announced."""
    doubts: int = 0
    """Connections that were replaced since they announced nothing."""
    became_ready: Callable[[], None] = _nobody
    """Called when a connection becomes ready, so that it is proven at once."""
    heard_canary: Callable[[], None] = _nobody
    _heard: dict[int, float] = field(default_factory=dict)
    _delays: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT_DELAYS))

    def hint(self, now: float) -> None:
        """Take a hint."""
        self.hints += 1
        self.hint_at = self.proof_at = now

    def canary(self, serial: int, now: float) -> None:
        """Take a canary; the same one twice is one."""
        if serial in self._heard:
            return
        self.canaries += 1
        self.proof_at = now
        self._heard[serial] = now
        self.heard_canary()
        while len(self._heard) > _KEPT_CANARIES:
            del self._heard[next(iter(self._heard))]

    def heard_at(self, serial: int) -> float | None:
        """Return when a canary came; None: it hasn't."""
        return self._heard.get(serial)

    def took(self, delay_s: float) -> None:
        """Take how long a canary was under way, seconds."""
        self._delays.append(max(delay_s, 0.0))

    @property
    def delay_s(self) -> float | None:
        """The middle one of the last canaries' delays, seconds."""
        return statistics.median(self._delays) if self._delays else None

    def ever_proven(self, link: Link) -> bool:
        """Whether anything has come through the connection since it became ready."""
        return link.ready and self.proof_at is not None and self.proof_at >= link.since

    def proven(self, link: Link, now: float, holds_s: float) -> bool:
        """Whether something has, and not too long ago."""
        fresh = self.proof_at is not None and now - self.proof_at <= holds_s
        return fresh and self.ever_proven(link)

    def state(self, link: Link, now: float) -> dict[str, Any]:
        """Return the record as JSON; `since` is the seconds spent in the state."""
        return {
            "name": self.name,
            "state": str(link.state),
            "ready": link.ready,
            "since": round(now - link.since, 3),
            "hints": self.hints,
            "last_proof_s": None if self.proof_at is None else round(now - self.proof_at, 3),
            "canary_delay_s": None if self.delay_s is None else round(self.delay_s, 4),
            "canaries": self.canaries,
            "missed_canaries": self.missed_canaries,
            "missed_hints": self.missed_hints,
            "doubts": self.doubts,
            "generations": self.generations,
            "last_error": self.last_error,
        }
