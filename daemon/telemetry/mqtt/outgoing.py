"""What waits to be sent: the latest of each kind, bounded; of too much, the oldest goes.

Two lanes. Urgent messages (presence, answers) are sent at once, and only as many as there is room
for are kept; the others (telemetry, jobs) are paced, and their text is made when they are sent, so
that what is replaced or dropped costs next to nothing.
"""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Message(NamedTuple):
    """One message; `make` returns its payload when it is sent."""

    topic: str
    make: Callable[[], bytes]
    qos: int = 0
    retain: bool = False
    properties: Any = None


@dataclass
class Counts:
    """Since the start, for `/status` and telemetry."""

    sent: int = 0
    dropped: int = 0
    connections: int = 0
    commands: int = 0
    refused: int = 0


@dataclass
class Outgoing:
    """Takes messages from the loop's own thread; never blocks, never raises.

    Args:
        most: how many of each lane are kept.
    """

    most: int
    counts: Counts = field(default_factory=Counts)
    urgent_waits: asyncio.Event = field(default_factory=asyncio.Event)
    _urgent: dict[Hashable, Message] = field(default_factory=dict)
    _paced: dict[Hashable, Message] = field(default_factory=dict)

    def put(self, key: Hashable, message: Message) -> None:
        """Take a message, in the place of one of the same key that wasn't sent yet."""
        self._add(self._paced, key, message)

    def put_urgent(self, key: Hashable, message: Message) -> None:
        """Take one that is sent at once."""
        self._add(self._urgent, key, message)
        self.urgent_waits.set()

    def next_urgent(self) -> tuple[Hashable, Message] | None:
        """Return the first one; it stays until it is `sent`."""
        first = next(iter(self._urgent.items()), None)
        if first is None:
            self.urgent_waits.clear()
        return first

    def sent_urgent(self, key: Hashable, message: Message) -> None:
        """Let one go, unless another has taken its place meanwhile."""
        self.counts.sent += 1
        if self._urgent.get(key) is message:
            del self._urgent[key]

    def take(self) -> Message | None:
        """Take the oldest of the paced ones."""
        for key in self._paced:
            self.counts.sent += 1
            return self._paced.pop(key)
        return None

    def __len__(self) -> int:
        return len(self._urgent) + len(self._paced)

    def _add(self, lane: dict[Hashable, Message], key: Hashable, message: Message) -> None:
        if key not in lane and len(lane) >= self.most:
            del lane[next(iter(lane))]
            self.counts.dropped += 1
        lane[key] = message
