"""The states of one connection to a source of wake-ups: pure, time is an argument.

    connecting --joined--> joined --confirmed--> ready --ended--> backing off

A reply to the join is not readiness: rows inserted before the server confirms the subscription
are never announced. A connection that has ended stays ended; the next one has a link of its own.
"""

from collections.abc import Mapping
from enum import StrEnum


class LinkState(StrEnum):
    """Where a connection is in its life."""

    CONNECTING = "connecting"
    JOINED = "joined"
    """The server took the subscription, but doesn't promise yet to announce rows."""
    READY = "ready"
    """The server has said that it announces rows from now on."""
    BACKING_OFF = "backing off"
    """The connection has ended; the next one waits its turn."""


class LinkEvent(StrEnum):
    """What happens to a connection."""

    JOINED = "joined"
    CONFIRMED = "confirmed"
    ENDED = "ended"


TRANSITIONS: Mapping[tuple[LinkState, LinkEvent], LinkState] = {
    (LinkState.CONNECTING, LinkEvent.JOINED): LinkState.JOINED,
    # LISTEN knows no join, and nothing promises that the reply comes before the confirmation.
    (LinkState.CONNECTING, LinkEvent.CONFIRMED): LinkState.READY,
    (LinkState.CONNECTING, LinkEvent.ENDED): LinkState.BACKING_OFF,
    (LinkState.JOINED, LinkEvent.JOINED): LinkState.JOINED,
    (LinkState.JOINED, LinkEvent.CONFIRMED): LinkState.READY,
    (LinkState.JOINED, LinkEvent.ENDED): LinkState.BACKING_OFF,
    (LinkState.READY, LinkEvent.JOINED): LinkState.READY,
    # The server confirms again after it has rebuilt its side.
    (LinkState.READY, LinkEvent.CONFIRMED): LinkState.READY,
    (LinkState.READY, LinkEvent.ENDED): LinkState.BACKING_OFF,
    # Late words of a connection that was given up change nothing.
    (LinkState.BACKING_OFF, LinkEvent.JOINED): LinkState.BACKING_OFF,
    (LinkState.BACKING_OFF, LinkEvent.CONFIRMED): LinkState.BACKING_OFF,
    (LinkState.BACKING_OFF, LinkEvent.ENDED): LinkState.BACKING_OFF,
}


class Link:
    """One connection's state, and since when. Times are seconds of the caller's clock."""

    def __init__(self, now: float) -> None:
        self.state = LinkState.CONNECTING
        self.since = now

    @property
    def ready(self) -> bool:
        """Whether rows are announced."""
        return self.state is LinkState.READY

    def move(self, event: LinkEvent, now: float) -> None:
        """Take one event; `since` changes only with the state."""
        state = TRANSITIONS[self.state, event]
        if state is not self.state:
            self.state, self.since = state, now

    def ready_for(self, now: float) -> float:
        """Return the seconds that the link has been ready, 0 if it isn't."""
        return now - self.since if self.ready else 0.0
