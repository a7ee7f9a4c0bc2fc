"""Read the payload of a `phx_join`. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from devstack.realtime.bindings import binding_id, old_style_params

TOPIC_PREFIX = "realtime:"
MOST_REPLAYED = 25


class ReplayError(Exception):
    """A replay that is refused; the message is the reason in the join's reply."""


@dataclass(frozen=True)
class Replay:
    """Messages that are told again.

    Attributes:
        since_ms: Unix time in milliseconds.
        limit: The newest so many.
    """

    since_ms: int
    limit: int


@dataclass(frozen=True)
class Join:
    """What a client wants of a channel.

    Attributes:
        sub_topic: The topic without its prefix.
        access_token: As sent; anything but a string means none.
        bindings: The bindings as sent.
        old_style: The payload had no config: the topic names a table, and changes come as events
            of their own name.
        presence_key: Who this client is to the others.
        replication_ready: A word is wanted when messages of the database are delivered.
        replay: Which messages are to be told again, as sent; None: none.
    """

    sub_topic: str
    access_token: Any
    bindings: tuple[dict[str, Any], ...]
    old_style: bool
    private: bool
    self_broadcast: bool
    ack_broadcast: bool
    presence_enabled: bool
    presence_key: str
    replication_ready: bool = False
    replay: Any = None

    @property
    def reply(self) -> dict[str, Any]:
        """The response to an accepted join."""
        bindings = [{"id": binding_id(params), **params} for params in self.bindings]
        return {"postgres_changes": bindings}

    def read_replay(self) -> Replay | None:
        """Return what is to be told again, None for nothing.

        Raises:
            ReplayError: It isn't understood, or the topic is public.
        """
        if self.replay is None:
            return None
        if not self.private:
            raise ReplayError("Replay is not allowed for public channels")
        since, limit = (
            _mapping(self.replay).get("since"),
            _mapping(self.replay).get("limit", MOST_REPLAYED),
        )
        if type(since) is not int or type(limit) is not int:
            raise ReplayError("Replay params are not valid")
        return Replay(since, min(max(limit, 1), MOST_REPLAYED))


def parse_join(topic: str, payload: Any) -> Join:
    """Read a join; like the real server, take what is wrong for absent."""
    payload = _mapping(payload)
    sub_topic = topic.removeprefix(TOPIC_PREFIX)
    old_style = "config" not in payload
    config = _mapping(payload.get("config"))
    broadcast, presence = _mapping(config.get("broadcast")), _mapping(config.get("presence"))
    wanted: Any = config.get("postgres_changes")
    if old_style:
        wanted = [old_style_params(sub_topic)]
    return Join(
        sub_topic=sub_topic,
        access_token=payload.get("access_token", payload.get("user_token")),
        bindings=tuple(params for params in wanted or () if isinstance(params, dict)),
        old_style=old_style,
        private=config.get("private") is True,
        self_broadcast=broadcast.get("self") is True,
        ack_broadcast=broadcast.get("ack") is True,
        presence_enabled=presence.get("enabled") is True,
        presence_key=str(presence.get("key") or uuid4()),
        replication_ready=broadcast.get("replication_ready") is True,
        replay=broadcast.get("replay"),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
