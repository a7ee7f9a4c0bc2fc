"""What a Realtime connection asks for, how the server confirms it, and which frames are hints.

Row changes work on every project and come in some 0.3 s. Where the migrations could install the
broadcast, the same hint comes in some 5 ms. Neither is replayed: each confirmation means that
hints may have been missed.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from uuid import uuid4

if TYPE_CHECKING:  # The package takes a moment to import: see `generation`.
    from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeChannelOptions

HINT_TOPIC = "ourvidz:jobs"
"""The private topic on which the jobs table's trigger broadcasts."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One way to hear of jobs.

    Attributes:
        name: the source's.
        event: frames with this event are hints; their content doesn't matter.
        extension: names the system message that says that hints come from now on.
        channel: makes the channel, not joined yet.
    """

    name: str
    event: str
    extension: str
    channel: "Callable[[AsyncRealtimeClient], AsyncRealtimeChannel]"

    def is_hint(self, frame: str) -> bool:
        """Whether a frame tells of a job."""
        return re.search(rf'"event"\s*:\s*"{self.event}"', frame) is not None


def _queued_jobs(client: "AsyncRealtimeClient") -> "AsyncRealtimeChannel":
    """Each row that becomes queued, new or again.

    The topic is random: the server closes a topic's older channel late, with a message that the
    client takes for the newer one's.
    """
    from realtime import RealtimePostgresChangesListenEvent as Event

    channel = client.channel(f"ourvidz-jobs-{uuid4().hex}")
    for event in (Event.Insert, Event.Update):
        channel.on_postgres_changes(
            event,
            # Hints are taken from the wire; the binding needs a callback.
            callback=lambda _payload: None,
            table="jobs",
            schema="public",
            filter="status=eq.queued",
            # Prompts have no business here, and a row of a megabyte would break the connection.
            select=["id"],
        )
    return channel


def _hint_topic(client: "AsyncRealtimeClient") -> "AsyncRealtimeChannel":
    """The trigger's broadcasts, with a word from the server when it really delivers them."""
    config = {
        # The last one is newer than the package's types.
        "broadcast": {"ack": False, "self": False, "replication_ready": True},
        "presence": {"key": "", "enabled": False},
        "private": True,
    }
    return client.channel(HINT_TOPIC, cast("RealtimeChannelOptions", {"config": config}))


CHANGES = Subscription("realtime", "postgres_changes", "postgres_changes", _queued_jobs)
BROADCAST = Subscription("broadcast", "broadcast", "system", _hint_topic)
