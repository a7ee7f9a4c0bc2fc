"""Phoenix frames and their two encodings, protocol 1.0.0 (objects) and 2.0.0 (arrays).

Pure. In 1.0.0 the server's frames carry no `join_ref`; in 2.0.0 they do. A user's broadcast may
travel as a binary frame in 2.0.0 and is an ordinary JSON frame in 1.0.0.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

_USER_BROADCAST_PUSH = 3
_USER_BROADCAST = 4
_JSON = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One Phoenix message, in either direction."""

    topic: str
    event: str
    payload: Any
    ref: str | None = None
    join_ref: str | None = None

    def reply(self, status: str, response: Any, join_ref: str | None) -> "Frame":
        """Make the answer to this frame."""
        payload = {"status": status, "response": response}
        return Frame(self.topic, "phx_reply", payload, self.ref, join_ref)


@dataclass(frozen=True, slots=True)
class UserBroadcast:
    """A broadcast that goes as a binary frame where the protocol has one.

    Attributes:
        topic: The channel's topic, with its prefix.
        event: The user's event.
        payload: JSON, or any bytes when `is_json` is false.
        meta: Further fields for the receiver.
    """

    topic: str
    event: str
    payload: bytes
    is_json: bool = True
    meta: dict[str, Any] | None = None

    def as_payload(self) -> dict[str, Any]:
        """Return the payload of the JSON frame that says the same."""
        payload: dict[str, Any] = {
            "event": self.event,
            "payload": msgspec.Raw(self.payload),
            "type": "broadcast",
        }
        return payload if self.meta is None else payload | {"meta": self.meta}


Outgoing = Frame | UserBroadcast


class Serializer(Protocol):
    """One protocol version."""

    def decode(self, data: str | bytes) -> Frame | None:
        """Read a frame; None for one that isn't understood, which the server ignores."""

    def encode(self, message: Outgoing) -> str | bytes | None:
        """Write a message; None for one that the version can't carry."""


def serializer_for(version: str | None) -> Serializer | None:
    """Return the serializer of a `vsn` parameter, None for an unknown one."""
    if version in (None, "1.0.0"):
        return _ObjectSerializer()
    return _ArraySerializer() if version == "2.0.0" else None


class _ObjectSerializer:
    def decode(self, data: str | bytes) -> Frame | None:
        match _parse(data):
            case {"topic": str(topic), "event": str(event), "payload": payload, **rest}:
                return _frame(topic, event, payload, rest.get("ref"), rest.get("join_ref"))
        return None

    def encode(self, message: Outgoing) -> str | bytes | None:
        if isinstance(message, UserBroadcast):
            if not message.is_json:
                return None
            message = Frame(message.topic, "broadcast", message.as_payload())
        return _text(
            {
                "ref": message.ref,
                "event": message.event,
                "payload": message.payload,
                "topic": message.topic,
            }
        )


class _ArraySerializer:
    def decode(self, data: str | bytes) -> Frame | None:
        if isinstance(data, bytes):
            return _decode_push(data)
        match _parse(data):
            case [join_ref, ref, str(topic), str(event), payload, *_]:
                return _frame(topic, event, payload, ref, join_ref)
        return None

    def encode(self, message: Outgoing) -> str | bytes | None:
        if isinstance(message, UserBroadcast):
            return _encode_broadcast(message)
        return _text([message.join_ref, message.ref, message.topic, message.event, message.payload])


def _parse(data: str | bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _frame(topic: str, event: str, payload: Any, ref: Any, join_ref: Any) -> Frame | None:
    if not isinstance(ref, str | None) or not isinstance(join_ref, str | None):
        return None
    return Frame(topic, event, payload, ref, join_ref)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def size_of(payload: Any) -> int:
    """Return how large a client's broadcast is, bytes."""
    if isinstance(payload, UserBroadcast):
        return len(payload.payload)
    return len(msgspec.json.encode(payload))


def _decode_push(data: bytes) -> Frame | None:
    """Read a user's binary broadcast: six lengths and an encoding, then the parts."""
    if len(data) < 7 or data[0] != _USER_BROADCAST_PUSH:  # noqa: PLR2004 - the header's length
        return None
    *sizes, encoding = data[1:7]
    parts, at = [], 7
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    try:
        join_ref, ref, topic, event, _ = (part.decode() for part in parts)
    except UnicodeDecodeError:
        return None
    broadcast = UserBroadcast(topic, event, data[at:], is_json=encoding == _JSON)
    if broadcast.is_json and _parse(broadcast.payload) is None and broadcast.payload != b"null":
        return None
    return Frame(topic, "broadcast", broadcast, ref or None, join_ref or None)


def _encode_broadcast(message: UserBroadcast) -> bytes | str:
    topic, event = message.topic.encode(), message.event.encode()
    meta = b"" if message.meta is None else msgspec.json.encode(message.meta)
    parts = (topic, event, meta)
    if any(len(part) > 255 for part in parts):  # noqa: PLR2004 - a length is one byte
        return _text([None, None, message.topic, "broadcast", message.as_payload()])
    sizes = bytes(len(part) for part in parts)
    header = bytes([_USER_BROADCAST]) + sizes + bytes([_JSON if message.is_json else 0])
    return header + b"".join(parts) + message.payload
