"""What a Realtime connection asks for, how the server confirms it, and what its frames say.

Row changes work on every project and come in some 0.3 s; they are never replayed. Where the
database has `realtime.send`, the same hint comes in some 5 ms, and the newest ones of a gap are
replayed. Each confirmation means that hints may have been missed all the same.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast
from uuid import uuid4

import msgspec

if TYPE_CHECKING:  # The package takes a moment to import: see `generation`.
    from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeChannelOptions

HINT_TOPIC = "ourvidz:jobs"
"""The private topic on which the jobs table's trigger broadcasts."""
CANARY_TABLE = "ourvidz_canary"
CANARY_EVENT = "canary"
_MOST_REPLAYED = 25
"""The server's own limit. One replayed hint is as good as many."""
_REPLAY_MARGIN_S = 5.0
"""This host's clock and the server's differ."""
_REPLAY_AT_MOST_S = 600.0
"""What lies further back was swept long ago."""


HINT: Final = "hint"
Heard = Literal["hint"] | int | None
"""A frame is a hint, the canary of this serial, or neither."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One way to hear of jobs.

    Attributes:
        name: the source's.
        event: frames with this event are hints; their content doesn't matter.
        extension: names the system message that says that hints come from now on.
        channel: makes the channel, not joined yet.
        serial: finds a canary's serial in a frame's payload; raises where it is none.
    """

    name: str
    event: str
    extension: str
    channel: "Callable[[AsyncRealtimeClient], AsyncRealtimeChannel]"
    serial: Callable[[Any], int]

    def after_gap(self, _gap_s: float | None) -> Self:
        """Return what to ask for when hints of the last so many seconds may have been missed."""
        return self

    def read(self, frame: str | bytes) -> Heard:
        """Say whether a frame tells of a job, or which canary it is."""
        if f'"{self.event}"' not in (frame if isinstance(frame, str) else ""):
            return None
        try:
            message = msgspec.json.decode(frame)
            if message["event"] != self.event:
                return None
            payload = message["payload"]
        except (msgspec.DecodeError, TypeError, KeyError):
            return None
        try:
            return self.serial(payload)
        except (TypeError, KeyError, ValueError):
            # Whatever it says, it says that something happened: hints aren't judged by content.
            return HINT


@dataclass(frozen=True, slots=True)
class ReplayedSubscription(Subscription):
    """One whose hints the server keeps: after a gap it tells the newest ones again."""

    def after_gap(self, gap_s: float | None) -> Self:
        """Return what to ask for when hints of the last so many seconds may have been missed."""
        return replace(self, channel=partial(_hint_topic, gap_s=gap_s))


def _queued_jobs(client: "AsyncRealtimeClient") -> "AsyncRealtimeChannel":
    """Each row that becomes queued, new or again, and the canary.

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
    channel.on_postgres_changes(
        Event.Update,
        callback=lambda _payload: None,
        table=CANARY_TABLE,
        schema="public",
        select=["id", "serial"],
    )
    return channel


def _changed_serial(payload: Any) -> int:
    data = payload["data"]
    if data["table"] != CANARY_TABLE:
        raise KeyError(CANARY_TABLE)
    return int(data["record"]["serial"])


def _hint_topic(
    client: "AsyncRealtimeClient", gap_s: float | None = None
) -> "AsyncRealtimeChannel":
    """The trigger's broadcasts, with a word from the server when it really delivers them."""
    broadcast: dict[str, Any] = {"ack": False, "self": False, "replication_ready": True}
    if gap_s is not None:
        back_s = min(gap_s, _REPLAY_AT_MOST_S) + _REPLAY_MARGIN_S
        broadcast["replay"] = {
            "since": int((time.time() - back_s) * 1000),
            "limit": _MOST_REPLAYED,
        }
    # Some of it is newer than the package's types.
    config = {
        "broadcast": broadcast,
        "presence": {"key": "", "enabled": False},
        "private": True,
    }
    return client.channel(HINT_TOPIC, cast("RealtimeChannelOptions", {"config": config}))


def _sent_serial(payload: Any) -> int:
    if payload["event"] != CANARY_EVENT:
        raise KeyError(CANARY_EVENT)
    return int(payload["payload"]["serial"])


CHANGES = Subscription(
    "realtime", "postgres_changes", "postgres_changes", _queued_jobs, _changed_serial
)
BROADCAST = ReplayedSubscription("broadcast", "broadcast", "system", _hint_topic, _sent_serial)
