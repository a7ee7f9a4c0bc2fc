"""One joined channel.

It handles its messages one after another, like the process that it is on the real server: a token
pushed right after the join is looked at when the subscription has been made, not before.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from devstack.realtime.authorization import unauthorized
from devstack.realtime.bindings import BadBindingError, parse_binding
from devstack.realtime.frames import Frame, Outgoing, UserBroadcast, size_of
from devstack.realtime.joins import TOPIC_PREFIX, Join
from devstack.realtime.messages import replayed
from devstack.realtime.node import Node
from devstack.realtime.pgoutput import Action
from devstack.realtime.subscriptions import SubscriptionError
from devstack.realtime.tokens import Credentials, TokenError, replaces

_log = logging.getLogger(__name__)
_MAX_TIMER_S = 3600.0


class Client(Protocol):
    """The connection, as its channels see it."""

    def send(self, message: Outgoing) -> None:
        """Send a message."""

    def closed(self, channel: "Channel") -> None:
        """Forget a channel that ended by itself."""


class Channel:
    """A client's membership in a topic, with its subscriptions.

    Args:
        node: The server.
        client: Whose channel it is.
        join: What was asked for.
        join_ref: What the client calls this join.
        credentials: The token that was accepted.
    """

    def __init__(
        self, node: Node, client: Client, join: Join, join_ref: str | None, credentials: Credentials
    ) -> None:
        self.topic = TOPIC_PREFIX + join.sub_topic
        self.join_ref = join_ref
        self._node = node
        self._client = client
        self._join = join
        self._credentials = credentials
        self._address = (join.sub_topic, join.private)
        self._mailbox: asyncio.Queue[Frame | Callable[[], None]] = asyncio.Queue()
        self._expiry: asyncio.TimerHandle | None = None
        self._subscribed = False
        self._stopped = False
        self._may_write: bool | None = None
        # Messages of the database that came while earlier ones are being told again.
        self._held_back: list[UserBroadcast] | None = [] if join.replay is not None else None
        self._told: frozenset[str] = frozenset()

    def enter(self) -> None:
        """Become a member: from now on broadcasts arrive."""
        self._node.faults.deaf_until_join = False
        self._node.topics.enter(self._address, self)
        self._watch_expiry()
        if self._join.presence_enabled:
            state = self._node.topics.present(self._address)
            self._push("presence_state", state)

    def leave(self) -> None:
        """End it without a word."""
        self._stopped = True
        if self._expiry is not None:
            self._expiry.cancel()
        self._node.feed.unsubscribe(self)
        self._node.topics.leave(self._address, self)

    def post(self, frame: Frame) -> None:
        """Put a client's message in the mailbox."""
        self._mailbox.put_nowait(frame)

    async def run(self) -> None:
        """Handle messages until the channel ends or is cancelled."""
        await self._replay()
        if self._join.replication_ready:
            await self._node.messages.connected.wait()
            self._system("system", "ok", "Replication connection established")
        await self._subscribe()
        while not self._stopped:
            item = await self._mailbox.get()
            if isinstance(item, Frame):
                await self._handle(item)
            else:
                item()

    def deliver(self, change: msgspec.Raw, action: Action, binding_ids: Sequence[int]) -> None:
        """Send a change of the database."""
        if self._join.old_style:
            self.push_broadcast(action, change)
        else:
            self.push_broadcast("postgres_changes", {"data": change, "ids": binding_ids})

    def push_broadcast(self, event: str, payload: Any) -> None:
        """Send a message that all members get; it names no join."""
        if self._node.faults.deaf:
            return
        if event == "broadcast":
            # Not before the channel has dealt with what came earlier, as on the real server.
            self._mailbox.put_nowait(self._count_message)
        if isinstance(payload, UserBroadcast):
            if self._held_back is not None and payload.meta:
                self._held_back.append(payload)
            elif (payload.meta or {}).get("id") not in self._told:
                self._client.send(payload)
        else:
            self._client.send(Frame(self.topic, event, payload))

    def subscribed(self) -> None:
        """Say that changes of the database arrive from now on."""
        self._subscribed = True
        if not self._node.faults.mute_system_ok:
            self._system("postgres_changes", "ok", "Subscribed to PostgreSQL")

    def refused(self, reason: str) -> None:
        """Say that they don't."""
        self._subscribed = False
        self._system("postgres_changes", "error", reason)

    def repeat_system_ok(self) -> None:
        """Say again that changes arrive, if they do."""
        if self._subscribed:
            self.subscribed()

    def say(self, event: str, payload: Any, ref: str | None) -> None:
        """Send whatever a test wants the client to hear, about this join, another one or none."""
        self._client.send(Frame(self.topic, event, payload, ref, ref))

    def report(self, message: str, extension: str) -> None:
        """Send a system error that a test asks for."""
        self._system(extension, "error", message)

    async def _replay(self) -> None:
        """Tell earlier messages again, then those that came meanwhile, none of them twice."""
        replay = self._join.read_replay()
        if replay is None:
            return
        settings = self._node.settings
        async with self._node.pool.acquire() as database:
            found = await replayed(
                database,
                self._join.sub_topic,
                replay.since_ms,
                replay.limit,
                settings.max_broadcast_bytes,
            )
        for _, payload in found:
            self._push("broadcast", payload)
        self._told = frozenset(id_ for id_, _ in found)
        held_back, self._held_back = self._held_back or [], None
        for message in held_back:
            self.push_broadcast("broadcast", message)

    async def _subscribe(self) -> None:
        if not self._join.bindings:
            return
        try:
            bindings = [parse_binding(params) for params in self._join.bindings]
            await self._node.feed.subscribe(self, bindings, self._credentials)
        except (BadBindingError, SubscriptionError) as error:
            self.refused(str(error))
        else:
            self.subscribed()

    async def _handle(self, frame: Frame) -> None:
        match frame.event, frame.payload:
            case "broadcast", UserBroadcast() | dict():
                await self._broadcast(frame)
            case "presence", dict():
                self._presence(frame)
            case "access_token", {"access_token": token} if replaces(token, self._credentials):
                await self._renew(token)

    async def _broadcast(self, frame: Frame) -> None:
        if self._join.private and self._may_write is None:
            # Asked once: a policy that changes shows with the next token.
            self._may_write = await self._node.authorizer.may_write(*self._as_asked())
        if self._join.private and not self._may_write:
            return
        self._node.limits.messages.add()
        fits = size_of(frame.payload) <= self._node.settings.max_broadcast_bytes
        if fits:
            but = None if self._join.self_broadcast else self
            self._node.topics.send(self._address, "broadcast", frame.payload, but=but)
        if self._join.ack_broadcast and fits:
            self._reply(frame, "ok", {})
        elif self._join.ack_broadcast:
            self._reply(frame, "error", "payload_size_exceeded")

    def _count_message(self) -> None:
        """Count a broadcast that was sent to the client; who gets one too many is closed."""
        self._node.limits.messages.add()
        if self._node.limits.messages.exceeded:
            self._shut_down("Too many messages per second")

    def _presence(self, frame: Frame) -> None:
        event = str(frame.payload.get("event", "")).lower()
        state = frame.payload.get("payload", {})
        if event not in ("track", "untrack"):
            self._reply(frame, "error", {})
        elif event == "track" and not isinstance(state, dict):
            reason = "Presence track payload must be a map"
            self._reply(frame, "error", {"reason": reason})
        else:
            self._reply(frame, "ok", {})
            if event == "track":
                self._node.topics.track(self._address, self, self._join.presence_key, state)
            else:
                self._node.topics.untrack(self._address, self)

    async def _renew(self, token: str) -> None:
        try:
            self._credentials = self._node.verifier.verify(token)
        except TokenError as error:
            self._shut_down(error.system)
            return
        if self._join.private and not await self._node.authorizer.may_read(*self._as_asked()):
            self._shut_down(unauthorized(self._join.sub_topic))
            return
        self._may_write = None
        self._watch_expiry()
        if self._join.bindings:
            await asyncio.sleep(self._node.settings.system_delay_s)
            await self._subscribe()

    def _as_asked(self) -> tuple[str, Credentials]:
        return self._join.sub_topic, self._credentials

    def _watch_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        if self._credentials.expires_at is not None:
            # Looked at by the clock again when it fires: clocks can be set, and timers are early.
            left = self._credentials.expires_at - self._node.verifier.now()
            delay = min(max(left, 0.001), _MAX_TIMER_S)
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(delay, self._mailbox.put_nowait, self._confirm_token)

    def _confirm_token(self) -> None:
        try:
            self._node.verifier.verify(self._credentials.token)
        except TokenError as error:
            self._shut_down(error.system)
        else:
            self._watch_expiry()

    def _shut_down(self, reason: str) -> None:
        self._system("system", "error", reason)
        self.leave()
        self._client.closed(self)

    def _system(self, extension: str, status: str, message: str) -> None:
        payload = {
            "message": message,
            "status": status,
            "extension": extension,
            "channel": self._join.sub_topic,
        }
        self._push("system", payload)

    def _push(self, event: str, payload: Any) -> None:
        self._client.send(Frame(self.topic, event, payload, join_ref=self.join_ref))

    def _reply(self, frame: Frame, status: str, response: Any) -> None:
        self._client.send(frame.reply(status, response, self.join_ref))
