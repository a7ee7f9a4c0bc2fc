"""Realtime: row changes over Supabase's websocket, one generation of connection after another.

The supervisor keeps one connection ready. At its age limit it makes the next one and closes the
old one only when the new one is ready; when a connection ends by itself, it backs off first.
"""

import asyncio
import random as randomness
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from daemon.credentials import Credentials
from daemon.ports import WakeUp
from daemon.wakeups.backoff import Backoff
from daemon.wakeups.generation import Generation, GenerationTimes
from daemon.wakeups.link import Link
from daemon.wakeups.record import SourceRecord
from daemon.wakeups.subscriptions import BROADCAST, CHANGES

_log = structlog.get_logger(__name__)

_AGE_SPREAD = 0.2
"""Ages differ by up to this share, so that a fleet doesn't reconnect at once."""


class RealtimeSource:
    """Hears of queued rows from Realtime's `postgres_changes`.

    Args:
        url: the project's address, `https://….supabase.co`.
        credentials: whose rights decide what is heard.
        recycle_after_s: a connection's age limit, seconds, +-20 %: the server ends old ones, and
            a connection can be deaf on the server's side without a sign on this one.
        times: a connection's time limits.
        backoff: delays between connections.
        random: draws from [0, 1).
    """

    subscription = CHANGES

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        recycle_after_s: float,
        times: GenerationTimes | None = None,
        backoff: Backoff | None = None,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self.name = self.subscription.name
        self._url = url
        self._credentials = credentials
        self._recycle_after_s = recycle_after_s
        self._times = times or GenerationTimes()
        self._backoff = backoff or Backoff(random)
        self._clock = time.monotonic
        self._random = random
        self.record = SourceRecord(self.name)
        self._idle = Link(self._clock())
        self._serving: Generation | None = None
        self._newest: Generation | None = None

    @property
    def ready(self) -> bool:
        """Whether the server has confirmed that it announces rows."""
        return self.link.ready

    def state(self) -> Mapping[str, Any]:
        """Return the state, since when, what was heard and missed, and the last error."""
        return self.record.state(self.link, self._clock())

    def doubt(self, reason: str) -> None:
        """Replace a connection that looks alive but announced nothing of a row that was there."""
        if self._serving is not None and self._serving.link.ready:
            self.record.doubts += 1
            self._serving.end(f"doubted: {reason}")

    async def run(self, wake: WakeUp) -> None:
        """Keep one connection ready, for ever."""
        async with asyncio.TaskGroup() as connections:
            while True:
                newest = self._begin(wake)
                connections.create_task(newest.run())
                await newest.settled()
                if newest.link.ready:
                    await self._serve_with(newest)
                if newest.ended.done():
                    await self._back_off_after(newest)

    def _begin(self, wake: WakeUp) -> Generation:
        self.record.generations += 1
        self._newest = Generation(
            self._url,
            self._credentials,
            self.subscription.after_gap(self._gap_s()),
            wake=wake,
            record=self.record,
            times=self._times,
        )
        return self._newest

    def _gap_s(self) -> float | None:
        """Return the seconds since anything was heard, for a replay.

        None after a connection that never became ready: should the server refuse the replay, it
        must not refuse every connection.
        """
        last, proof_at = self._newest, self.record.proof_at
        if proof_at is None or last is None or not (last.link.ready or last.ready_s > 0):
            return None
        return self._clock() - proof_at

    async def _serve_with(self, newest: Generation) -> None:
        """Let the connection serve until it ends or reaches its age limit."""
        if self._serving is not None:
            self._serving.end("replaced")
        self._serving = newest
        _log.info("realtime_ready", source=self.name, generation=self.record.generations)
        spread = 1 + _AGE_SPREAD * (2 * self._random() - 1)
        await asyncio.wait({newest.ended}, timeout=self._recycle_after_s * spread)

    async def _back_off_after(self, ended: Generation) -> None:
        reason = ended.ended.result()
        delay_s = self._backoff.delay_after(ended.ready_s)
        # The same refusal every 30 s for a night is one line, not a thousand.
        log = _log.debug if reason == self.record.last_error else _log.warning
        log("realtime_ended", source=self.name, reason=reason, retry_in_s=round(delay_s, 3))
        self.record.last_error = reason
        await asyncio.sleep(delay_s)

    @property
    def link(self) -> Link:
        """The connection that counts: the serving one while it is ready, else the newest."""
        if self._serving is not None and self._serving.link.ready:
            return self._serving.link
        return self._newest.link if self._newest is not None else self._idle


class BroadcastSource(RealtimeSource):
    """Hears of queued rows from the table's trigger, by a broadcast on a private topic.

    It has a socket of its own: the server makes a socket wait for seconds when it refuses a
    private topic, heartbeats and change events too.
    """

    subscription = BROADCAST
