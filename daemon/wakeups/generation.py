"""One Realtime connection's life: connect, join, be confirmed, live until something ends it.

A generation ends once, for the first of these reasons:

1. the connection or the join is refused, or fails;
2. the server doesn't confirm the subscription in time;
3. the channel reports any status but SUBSCRIBED;
4. the client stops listening, for whatever reason;
5. nothing at all is heard for too long, not even a reply to a heartbeat;
6. its owner ends it: it is replaced, or doubted.

It is never repaired: a client that rejoins ends up closed and deaf. Its owner starts another one.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import structlog

from daemon.credentials import EXPIRED, Credentials, says_expired
from daemon.ports import WakeUp
from daemon.wakeups.link import Link, LinkEvent
from daemon.wakeups.record import SourceRecord
from daemon.wakeups.redaction import error_text, redact
from daemon.wakeups.subscriptions import HINT, Subscription

if TYPE_CHECKING:  # Importing the package takes time: see `_open`.
    from realtime import AsyncRealtimeChannel

    from daemon.wakeups.client import HeardClient

_CLIENT = "daemon.wakeups.client"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class GenerationTimes:
    """A connection's time limits, in seconds."""

    ready_within_s: float = 12.0
    """From the join to the server's confirmation: a cold server takes 1 to 6 s."""
    silent_for_s: float = 45.0
    """Three heartbeats without a reply."""
    wake_again_s: float = 3.0
    """After each confirmation: the server may confirm before its replication slot exists."""
    close_within_s: float = 12.0
    """The closing handshake with a dead peer takes the websocket's own 10 s."""
    stop_within_s: float = 1.0
    """The same while the daemon stops, when nobody cares for manners."""


class Generation:
    """One client, one channel with a random topic, one life.

    Args:
        url: the project's address.
        credentials: whose rights decide what is heard; never shown.
        subscription: what to ask for.
        wake: set at each hint and each confirmation.
        record: takes hints and canaries.
        times: time limits.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        subscription: Subscription,
        *,
        wake: WakeUp,
        record: SourceRecord,
        times: GenerationTimes,
    ) -> None:
        self._url = url
        self._credentials = credentials
        self._subscription = subscription
        self._wake = wake
        self._record = record
        self._times = times
        self._clock = time.monotonic
        self.link = Link(self._clock())
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why it ended."""
        self.ready_s = 0.0
        """How long it was ready before it ended."""
        self._settled = asyncio.Event()
        self._heard_at = self.link.since
        self._client: HeardClient | None = None
        self._channel: AsyncRealtimeChannel | None = None
        self._again: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Live; return when the connection has ended and is cleaned up."""
        close_within_s = self._times.stop_within_s
        try:
            async with asyncio.TaskGroup() as group:
                opening = group.create_task(self._open())
                await self._watch()
                opening.cancel()
            close_within_s = self._times.close_within_s
        finally:
            self.end("stopped")
            await self._dispose(close_within_s)

    async def settled(self) -> None:
        """Wait until the connection is ready, or has ended."""
        await self._settled.wait()

    def end(self, reason: str) -> None:
        """End the connection; the first reason counts."""
        if self.ended.done():
            return
        now = self._clock()
        self.ready_s = self.link.ready_for(now)
        self.link.move(LinkEvent.ENDED, now)
        # The server counts the seconds since then, and would have each refusal look new.
        reason = EXPIRED if says_expired(reason) else reason
        self.ended.set_result(redact(reason, *self._credentials.secrets))
        self._settled.set()
        if self._again is not None:
            self._again.cancel()

    async def _open(self) -> None:
        """Connect and join; a failure ends the generation."""
        try:
            if _CLIENT not in sys.modules:
                # In a thread: the import of 0.2 s would hold up every lease's renewal.
                await asyncio.to_thread(import_module, _CLIENT)
            from daemon.wakeups.client import HeardClient, silence_loggers

            silence_loggers()
            self._client = HeardClient(self._url, self._credentials, self._heard)
            await self._client.connect()
            self._client.when_deaf(self.end)
            self._channel = self._subscription.channel(self._client)
            await self._join(self._channel)
        except Exception as error:  # noqa: BLE001  whatever the client raises, the next one may work
            self.end(error_text(error, *self._credentials.secrets))

    async def _join(self, channel: "AsyncRealtimeChannel") -> None:
        """Join and wait for the confirmation."""
        channel.on_system(self._guarded(self._on_system))
        try:
            async with asyncio.timeout(self._times.ready_within_s):
                await channel.subscribe(self._guarded(self._on_status))
                await self._settled.wait()
        except TimeoutError:
            at = self.link.state
            self.end(f"not confirmed within {self._times.ready_within_s:g} s, still {at}")

    async def _watch(self) -> None:
        """Wait for the end; bring it about when nothing has been heard for too long."""
        while not self.ended.done():
            left_s = self._heard_at + self._times.silent_for_s - self._clock()
            if left_s <= 0:
                self.end(f"nothing heard for {self._times.silent_for_s:g} s")
            else:
                await asyncio.wait({self.ended}, timeout=left_s)

    def _guarded(self, act: Callable[..., None]) -> Callable[..., None]:
        """Wrap a callback: an exception would leave the client connected and deaf."""

        def guarded(*arguments: Any) -> None:
            if self.ended.done():
                return  # A late word of a connection that was given up.
            try:
                act(*arguments)
            except Exception as error:  # noqa: BLE001  any exception at all would deafen the client
                self.end(f"in a callback: {error_text(error, *self._credentials.secrets)}")

        return guarded

    def _heard(self, frame: str | bytes) -> None:
        self._heard_at = self._clock()
        self._guarded(self._on_frame)(frame)

    def _on_frame(self, frame: str | bytes) -> None:
        heard = self._subscription.read(frame)
        if heard == HINT:
            self._record.hint(self._heard_at)
            self._wake.set()
        elif isinstance(heard, int):
            self._record.canary(heard, self._heard_at)

    def _on_status(self, status: Any, error: Exception | None) -> None:
        if status.value == "SUBSCRIBED":
            self.link.move(LinkEvent.JOINED, self._clock())
        else:
            self.end(f"{status.value}: {error}" if error else status.value)

    def _on_system(self, message: Any) -> None:
        """Take a confirmation: rows may have come unannounced before it, so look for them."""
        if message.extension != self._subscription.extension:
            return
        self.link.move(LinkEvent.CONFIRMED, self._clock())
        self._settled.set()
        self._record.became_ready()
        self._wake.set()
        if self._again is not None:
            self._again.cancel()
        loop = asyncio.get_running_loop()
        self._again = loop.call_later(self._times.wake_again_s, self._guarded(self._wake.set))

    async def _dispose(self, within_s: float) -> None:
        """Close the connection, and stop the timers that the client leaves behind."""
        if self._client is None:
            return
        if self._channel is not None:
            self._channel.rejoin_timer.reset()
            self._channel.join_push.destroy()
        try:
            async with asyncio.timeout(within_s):
                await self._client.close()
        except Exception as error:  # noqa: BLE001  it is given up in any case
            # The name alone: the client's errors quote the address, and the key with it.
            _log.debug("realtime_close_failed", error=type(error).__name__)
        finally:
            self._client.abandon()
