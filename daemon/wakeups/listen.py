"""LISTEN: notifications on a PostgreSQL session of its own, where a direct DSN exists.

A session that died silently is found by a probe in the same session. Notifications are never
stored for an absent listener, so each new session wakes the intake once.
"""

import asyncio
import random as randomness
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import structlog

from daemon.ports import WakeUp
from daemon.wakeups.backoff import Backoff
from daemon.wakeups.link import Link, LinkEvent
from daemon.wakeups.record import SourceRecord
from daemon.wakeups.redaction import error_text, secrets_of

_log = structlog.get_logger(__name__)

CHANNEL = "ourvidz_jobs"
"""What the jobs table's trigger notifies."""
CANARY_CHANNEL = "ourvidz_canary"
_TRANSACTION_POOLER_PORT = 6543


def refuse_transaction_pooler(dsn: str) -> str | None:
    """Return why LISTEN can't work through this DSN, and what to use instead; None: it can.

    A transaction pooler lends another session to each transaction: a LISTEN succeeds there and
    nothing is ever heard.
    """
    try:
        parts = urlsplit(dsn)
        port = parts.port
    except ValueError:
        return "the connection string can't be read: its host or port is not valid"
    if port == _TRANSACTION_POOLER_PORT:
        found = f"port {_TRANSACTION_POOLER_PORT} is Supabase's transaction pooler"
    elif parse_qs(parts.query).get("pgbouncer") == ["true"]:
        found = "pgbouncer=true names a transaction pooler"
    else:
        return None
    return (
        f"LISTEN can't work through this connection string: {found}. Use the direct connection "
        "(db.<project>.supabase.co:5432) or the pooler's session mode (port 5432), or set "
        "wakeups.listen to false"
    )


@dataclass(frozen=True, slots=True)
class ListenTimes:
    """A session's time limits, in seconds."""

    connect_s: float = 10.0
    probe_every_s: float = 15.0
    probe_within_s: float = 5.0
    close_s: float = 2.0


class ListenSource:
    """Hears of queued rows from `pg_notify` on the channel `ourvidz_jobs`.

    Args:
        dsn: a direct or session-mode connection string; never shown.
        times: a session's time limits.
        backoff: delays between sessions.
        random: draws from [0, 1).
    """

    def __init__(
        self,
        dsn: str,
        *,
        times: ListenTimes | None = None,
        backoff: Backoff | None = None,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self.name = "listen"
        self._dsn = dsn
        self._times = times or ListenTimes()
        self._backoff = backoff or Backoff(random)
        self._clock = time.monotonic
        self.record = SourceRecord(self.name)
        self.link = Link(self._clock())
        self._ended = asyncio.Event()
        self._doubt: str | None = None

    @property
    def ready(self) -> bool:
        """Whether the session listens, as far as the last probe says."""
        return self.link.ready

    def state(self) -> Mapping[str, Any]:
        """Return the state, since when, what was heard and missed, and the last error."""
        return self.record.state(self.link, self._clock())

    def doubt(self, reason: str) -> None:
        """Replace a session that looks alive but announced nothing of a row that was there."""
        if self.link.ready:
            self.record.doubts += 1
            self._doubt = f"doubted: {reason}"
            self._ended.set()

    async def run(self, wake: WakeUp) -> None:
        """Keep one session listening, for ever."""
        while True:
            self.record.generations += 1
            self.link = Link(self._clock())
            try:
                reason = await self._listen(wake)
            except Exception as error:  # noqa: BLE001  whatever ended it, the next session may work
                reason = error_text(error, *secrets_of(self._dsn))
            now = self._clock()
            delay_s = self._backoff.delay_after(self.link.ready_for(now))
            self.link.move(LinkEvent.ENDED, now)
            # The same refusal every 30 s for a night is one line, not a thousand.
            log = _log.debug if reason == self.record.last_error else _log.warning
            log("listen_ended", reason=reason, retry_in_s=round(delay_s, 3))
            self.record.last_error = reason
            await asyncio.sleep(delay_s)

    async def _listen(self, wake: WakeUp) -> str:
        """Listen on one session until it ends; return why."""
        self._ended = ended = asyncio.Event()
        self._doubt = None

        def hint(*_: object) -> None:
            self.record.hint(self._clock())
            wake.set()

        def canary(*notification: object) -> None:
            with suppress(ValueError):
                self.record.canary(int(str(notification[-1])), self._clock())

        session = await asyncpg.connect(
            self._dsn,
            timeout=self._times.connect_s,
            statement_cache_size=0,
            server_settings={"application_name": "ourvidz-worker listen"},
        )
        try:
            session.add_termination_listener(lambda _: ended.set())
            await session.add_listener(CANARY_CHANNEL, canary)
            await session.add_listener(CHANNEL, hint)
            self.link.move(LinkEvent.CONFIRMED, self._clock())
            self.record.became_ready()
            _log.info("listen_ready", generation=self.record.generations)
            wake.set()
            await self._probe_until(ended, session)
        finally:
            await self._close(session)
        return self._why_ended()

    def _why_ended(self) -> str:
        return self._doubt or "the server ended the session"

    async def _probe_until(self, ended: asyncio.Event, session: "asyncpg.Connection[Any]") -> None:
        """Prove the session alive until it ends; raises when a probe gets no answer."""
        while not ended.is_set():
            try:
                # Not wait_for: until Python 3.12 it can swallow a cancellation.
                async with asyncio.timeout(self._times.probe_every_s):
                    await ended.wait()
            except TimeoutError:
                await session.execute("select 1", timeout=self._times.probe_within_s)

    async def _close(self, session: "asyncpg.Connection[Any]") -> None:
        try:
            await session.close(timeout=self._times.close_s)
        except Exception:  # noqa: BLE001  a session that is gone can't say goodbye
            session.terminate()
