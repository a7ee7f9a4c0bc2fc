"""What a recorded client needs to be played: sockets that keep what arrived, and tokens."""

import asyncio
import json
import re
import time
from collections import defaultdict
from typing import Any

import aiohttp
import jwt
from aiohttp import WSMsgType

from devstack.tokens import mint

DEADLINE = 60.0
SECRET = "realtime-tests-secret-of-more-than-32-bytes"
SINCE = re.compile(r"\b1795\d{9}\b")
"""Unix times in milliseconds, as the recordings' replays name them."""


class Reader:
    """One socket and what arrived on it, by topic."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.arrived: dict[str, list[Any]] = defaultdict(list)
        self.ended = asyncio.Event()
        self._news = asyncio.Condition()

    async def run(self) -> None:
        async for message in self.socket:
            assert message.type in (WSMsgType.TEXT, WSMsgType.BINARY), message
            binary = message.type is WSMsgType.BINARY
            frame = Binary(message.data) if binary else json.loads(message.data)
            async with self._news:
                self.arrived[topic_of(frame)].append(frame)
                self._news.notify_all()
        self.ended.set()

    async def next(self, topic: str) -> Any:
        async with asyncio.timeout(DEADLINE), self._news:
            await self._news.wait_for(lambda: bool(self.arrived[topic]))
            return self.arrived[topic].pop(0)

    def unread(self) -> list[Any]:
        # A wildcard binding gets the player's own mark as well.
        frames = [frame for frames in self.arrived.values() for frame in frames]
        return [frame for frame in frames if "'table': 'marker'" not in str(frame)]


class Binary:
    """A broadcast as protocol 2.0.0 writes those of the database.

    One byte that says so, the lengths of topic, event and meta, the encoding, and then these.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        kind, *sizes, encoding = data[:5]
        parts, at = [], 5
        for size in sizes:
            parts.append(data[at : at + size])
            at += size
        self.topic, event, meta = (part.decode(errors="replace") for part in parts)
        self.head = [kind, encoding, self.topic, event]
        self._meta, self._payload = meta, data[at:]

    def content(self) -> list[Any]:
        """Everything in it, read."""
        return [*self.head, json.loads(self._meta), json.loads(self._payload)]


def topic_of(frame: Any) -> str:
    if isinstance(frame, Binary):
        return frame.topic
    if isinstance(frame, dict) and "__binary_hex__" in frame:
        return Binary(bytes.fromhex(frame["__binary_hex__"].partition("...")[0])).topic
    return frame["topic"] if isinstance(frame, dict) else frame[2]


class Tokens:
    """Local tokens for the recorded ones, which are only described, and times of today."""

    def __init__(self) -> None:
        self._made: dict[str, str] = {}
        self._first_since: int | None = None
        self._began_ms = 0

    def begin(self) -> None:
        """Take this moment for the first one that a replay names."""
        self._began_ms = int(time.time() * 1000)

    def put(self, value: Any) -> Any:
        """Replace each description by a token, the same one each time."""
        if isinstance(value, dict):
            return {key: self.put(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.put(item) for item in value]
        if isinstance(value, str) and value.startswith("<JWT "):
            return self._made.setdefault(value, self._make(value))
        if type(value) is int and SINCE.fullmatch(str(value)):
            self._first_since = self._first_since or value
            return value - self._first_since + self._began_ms
        return value

    def _make(self, description: str) -> str:
        words = dict(re.findall(r"(\w+)=(\S+?)(?=[ >])", description))
        # The recorded ones that run out do so after 8 seconds: nobody wants to wait for that.
        lifetime = {"-60s": -60, "8s": 2}.get(words.get("ttl", ""), 3600)
        secret = (
            "another secret, and a long one as well" if "wrong secret" in description else SECRET
        )
        claims = {key: words[key] for key in ("sub", "jti") if key in words}
        token = mint(secret, words.get("role", "service_role"), None, lifetime, claims)
        missing = {"no role claim": "role", "ttl=Nones": "exp"}
        for words_of_it, claim in missing.items():
            if words_of_it in description:
                token = without(token, claim)
        return token


def without(token: str, claim: str) -> str:
    claims = jwt.decode(token, SECRET, ["HS256"], {"verify_aud": False})
    return jwt.encode({key: claims[key] for key in claims if key != claim}, SECRET, "HS256")
