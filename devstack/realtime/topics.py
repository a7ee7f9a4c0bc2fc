"""Who is on which topic: broadcast between clients, and presence.

A private and a public topic of the same name are two topics. Nothing here waits, so one pass over
the members sees them all.
"""

import secrets
from collections import defaultdict
from typing import Any, Protocol


class Member(Protocol):
    """A channel, as its topic sees it."""

    def push_broadcast(self, event: str, payload: Any) -> None:
        """Send it a message that all members get."""


Topic = tuple[str, bool]
Meta = dict[str, Any]


class Topics:
    """All topics of the server."""

    def __init__(self) -> None:
        self._members: dict[Topic, dict[Member, None]] = defaultdict(dict)
        self._present: dict[Topic, dict[Member, tuple[str, Meta]]] = defaultdict(dict)

    def enter(self, topic: Topic, member: Member) -> None:
        """Make a channel a member."""
        self._members[topic][member] = None

    def leave(self, topic: Topic, member: Member) -> None:
        """End a membership and, with it, a presence."""
        self._members[topic].pop(member, None)
        if not self._members[topic]:
            del self._members[topic]
        self.untrack(topic, member)

    def send(self, topic: Topic, event: str, payload: Any, *, but: Member | None = None) -> None:
        """Send a message to all members, or all but one."""
        for member in list(self._members.get(topic, ())):
            if member is not but:
                member.push_broadcast(event, payload)

    def track(self, topic: Topic, member: Member, key: str, state: Meta) -> None:
        """Say that a member is there, or that its state is another now."""
        former = self._present[topic].get(member)
        if former is not None and _state(former[1]) == state:
            return
        meta = {"phx_ref": secrets.token_urlsafe(12), **state}
        leaves: Meta = {}
        if former is not None:
            meta["phx_ref_prev"] = former[1]["phx_ref"]
            leaves = _group([former])
        self._present[topic][member] = (key, meta)
        self._tell(topic, _group([(key, meta)]), leaves)

    def untrack(self, topic: Topic, member: Member) -> None:
        """Say that a member isn't there any more, if it was."""
        former = self._present[topic].pop(member, None)
        if not self._present[topic]:
            del self._present[topic]
        if former is not None:
            self._tell(topic, {}, _group([former]))

    def present(self, topic: Topic) -> Meta:
        """Return who is there, by presence key."""
        return _group(list(self._present.get(topic, {}).values()))

    def _tell(self, topic: Topic, joins: Meta, leaves: Meta) -> None:
        self.send(topic, "presence_diff", {"joins": joins, "leaves": leaves})


def _group(entries: list[tuple[str, Meta]]) -> Meta:
    grouped: dict[str, list[Meta]] = defaultdict(list)
    for key, meta in entries:
        grouped[key].append(meta)
    return {key: {"metas": metas} for key, metas in grouped.items()}


def _state(meta: Meta) -> Meta:
    return {key: value for key, value in meta.items() if key not in ("phx_ref", "phx_ref_prev")}
