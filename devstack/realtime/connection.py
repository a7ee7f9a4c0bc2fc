"""One client's websocket: reads frames, keeps its channels, writes what they send.

Frames go out through a queue, so that nothing that sends ever waits for a slow client. A refused
join waits inside the reading loop and thereby holds up its whole socket, as on the real server.
"""

import asyncio
import logging
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from devstack.realtime.authorization import unauthorized
from devstack.realtime.channel import Channel
from devstack.realtime.frames import Frame, Outgoing, Serializer
from devstack.realtime.joins import TOPIC_PREFIX, Join, ReplayError, parse_join
from devstack.realtime.node import Node
from devstack.realtime.tokens import Credentials, TokenError

_log = logging.getLogger(__name__)
_LAST_WORDS_S = 2.0


class JoinError(Exception):
    """A join that is refused; the message is the reason in its reply."""


class TooManyJoinsError(JoinError):
    """The server is joined too often; the socket is closed as well."""


class Connection:
    """A client's connection from handshake to close.

    Args:
        node: The server.
        request: The handshake.
        socket: Its prepared websocket.
        serializer: The client's protocol version.
        key: Whom the handshake's key stands for.
    """

    def __init__(
        self,
        node: Node,
        request: web.Request,
        socket: web.WebSocketResponse,
        serializer: Serializer,
        key: Credentials,
    ) -> None:
        self._node = node
        self._request = request
        self._socket = socket
        self._serializer = serializer
        self._key = key
        self._channels: dict[str, Channel] = {}
        self._running: dict[Channel, asyncio.Task[None]] = {}
        self._outbox: asyncio.Queue[Outgoing | int | str] = asyncio.Queue()
        self._going = asyncio.Event()
        self._going.set()
        self.ended = asyncio.Event()

    async def run(self) -> None:
        """Serve until either side closes."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            writer = tasks.create_task(self._write())
            try:
                await self._read()
            finally:
                for channel in list(self._channels.values()):
                    self._end(channel)
                self._going.set()
                self.close(WSCloseCode.OK)
                # A client that reads nothing any more must not keep its connection for ever.
                await asyncio.wait([writer], timeout=_LAST_WORDS_S)
                writer.cancel()
                self.ended.set()

    def send(self, message: Outgoing) -> None:
        """Send a message; it is written after those before it."""
        self._outbox.put_nowait(message)

    def close(self, code: int) -> None:
        """Close the socket after what was sent before."""
        self._outbox.put_nowait(code)

    def abort(self) -> None:
        """Drop the TCP connection without a closing frame."""
        if self._request.transport is not None:
            self._request.transport.abort()

    def stall(self) -> None:
        """Neither read nor write any more."""
        self._going.clear()
        if self._request.transport is not None:
            # What the websocket's own layer would answer, pings and closes, is left lying too.
            self._request.transport.pause_reading()

    def resume(self) -> None:
        """Read and write again."""
        self._going.set()
        if self._request.transport is not None:
            self._request.transport.resume_reading()

    def send_text(self, text: str) -> None:
        """Write a text frame as it is, after what was sent before."""
        self._outbox.put_nowait(text)

    def say(self, event: str, payload: Any, ref: str | None) -> None:
        """Send an event on every channel."""
        for channel in self._channels.values():
            channel.say(event, payload, ref)

    def report(self, message: str, extension: str) -> None:
        """Send a system error on every channel."""
        for channel in self._channels.values():
            channel.report(message, extension)

    def repeat_system_ok(self) -> None:
        """Have every subscribed channel say so again."""
        for channel in self._channels.values():
            channel.repeat_system_ok()

    def crash_channels(self) -> None:
        """End every channel as if it had failed."""
        for channel in list(self._channels.values()):
            self._end(channel)
            self._say_failed(channel)

    def closed(self, channel: Channel) -> None:
        """Tell the client of a channel that ended by itself."""
        if self._channels.get(channel.topic) is channel:
            del self._channels[channel.topic]
        self._running.pop(channel, None)
        self._say_closed(channel)

    async def _write(self) -> None:
        try:
            while True:
                message = await self._outbox.get()
                await self._going.wait()
                if isinstance(message, int):
                    await self._socket.close(code=message)
                    return
                data = message if isinstance(message, str) else self._serializer.encode(message)
                if isinstance(data, str):
                    await self._socket.send_str(data)
                elif data is not None:
                    await self._socket.send_bytes(data)
        except ConnectionError:
            return  # the reader sees it too

    async def _read(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._node.settings.heartbeat_timeout_s):
                    message = await self._socket.receive()
            except TimeoutError:
                if self._going.is_set():
                    return
                continue
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            frame = self._serializer.decode(message.data)
            if frame is not None:
                await self._handle(frame)

    async def _handle(self, frame: Frame) -> None:
        channel = self._channels.get(frame.topic)
        match frame.event:
            case "heartbeat" if frame.topic == "phoenix":
                if not self._node.faults.mute_heartbeats:
                    self.send(frame.reply("ok", {}, None))
            case "phx_join":
                await self._answer_join(frame)
            case "phx_leave" if channel is None:
                self.send(frame.reply("ok", {}, frame.join_ref))
            case "phx_leave" if channel is not None:
                # Only the join that is meant can be left.
                if frame.join_ref == channel.join_ref:
                    self._end(channel)
                    self.send(frame.reply("ok", {}, channel.join_ref))
                    self._say_closed(channel)
            case _ if channel is not None:
                channel.post(frame)
            case _:
                self.send(frame.reply("error", {"reason": "unmatched topic"}, None))

    async def _answer_join(self, frame: Frame) -> None:
        if not frame.topic.startswith(TOPIC_PREFIX):
            self.send(frame.reply("error", {"reason": "unmatched topic"}, None))
            return
        await asyncio.sleep(self._node.faults.delay_join_s)
        if self._node.faults.ignore_joins:
            return
        join = parse_join(frame.topic, frame.payload)
        former = self._channels.get(frame.topic)
        if former is not None:
            self._end(former)
        try:
            credentials = await self._authorize(join)
        except JoinError as refusal:
            await asyncio.sleep(self._node.settings.join_error_delay_s)
            self.send(frame.reply("error", {"reason": str(refusal)}, frame.join_ref))
            if isinstance(refusal, TooManyJoinsError):
                self.close(WSCloseCode.OK)
        else:
            if join.replay is not None:
                async with self._node.pool.acquire() as database:
                    await self._node.messages.catch_up(database)
            self._accept(frame.reply("ok", join.reply, frame.join_ref))
            self._begin(Channel(self._node, self, join, frame.join_ref, credentials))
        if former is not None:
            # After the answer to the new join, so that clients which don't compare references
            # take it for the new one's end.
            self._say_closed(former)

    def _accept(self, reply: Frame) -> None:
        if late_s := self._node.faults.late_join_reply_s:
            asyncio.get_running_loop().call_later(late_s, self.send, reply)
        else:
            self.send(reply)

    async def _authorize(self, join: Join) -> Credentials:
        if self._node.faults.refuse_joins:
            raise JoinError(self._node.faults.refuse_joins)
        if not join.sub_topic:
            raise JoinError("TopicNameRequired: You must provide a topic name")
        if self._node.limits.joins.exceeded:
            raise TooManyJoinsError("ClientJoinRateLimitReached: Too many joins per second")
        self._node.limits.joins.add()
        if len(self._channels) >= self._node.settings.max_channels:
            raise JoinError("ChannelRateLimitReached: Too many channels")
        try:
            credentials = self._node.verifier.verify_join(join.access_token, self._key)
        except TokenError as error:
            raise JoinError(error.join) from error
        if join.private and not await self._node.authorizer.may_read(join.sub_topic, credentials):
            raise JoinError(f"Unauthorized: {unauthorized(join.sub_topic)}")
        try:
            join.read_replay()
        except ReplayError as error:
            raise JoinError(f"UnableToReplayMessages: {error}") from error
        return credentials

    def _begin(self, channel: Channel) -> None:
        self._channels[channel.topic] = channel
        channel.enter()
        self._running[channel] = self._tasks.create_task(self._supervise(channel))

    async def _supervise(self, channel: Channel) -> None:
        try:
            await channel.run()
        except Exception:  # noqa: BLE001 - as a crashed channel process: the socket stays
            # The real server restarts nothing either: the client has to join again.
            _log.exception("realtime: channel %s failed", channel.topic)
            channel.leave()
            self._channels.pop(channel.topic, None)
            self._say_failed(channel)

    def _end(self, channel: Channel) -> None:
        del self._channels[channel.topic]
        channel.leave()
        task = self._running.pop(channel, None)
        if task is not None:
            task.cancel()

    def _say_closed(self, channel: Channel) -> None:
        self.send(Frame(channel.topic, "phx_close", {}, channel.join_ref, channel.join_ref))

    def _say_failed(self, channel: Channel) -> None:
        self.send(Frame(channel.topic, "phx_error", {}, channel.join_ref, channel.join_ref))
