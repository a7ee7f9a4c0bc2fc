"""Proof of life: canaries through every source, and what is done with one that hears none.

A source can be connected, joined and confirmed, and hear nothing for ever. So a canary is sent
through the database now and then, for the whole fleet together, and each source must hear it. Jobs
are canaries too: one that the worker found although no source had announced it is a missed hint.
Either way the connection is replaced, and while no source is proven the table is swept more often.
"""

import asyncio
import contextlib
import random as randomness
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from daemon.ports import WakeUpSource
from daemon.values import Canary, StoreRejectedError, StoreUnavailableError
from daemon.wakeups.link import Link
from daemon.wakeups.record import SourceRecord

_log = structlog.get_logger(__name__)

_SPREAD = 0.2
_LEAST_AGE = 0.7
"""Of an interval: a canary that somebody else sent so recently does for this worker as well."""
_FRESH_S = 0.1
"""The same for a source that has just become ready."""
_CLOCKS_S = 1.0
"""How far moments that two hosts tell of may lie apart."""
_MARGIN_S = 0.05
_TRIES = 2
"""Canaries that a connection may miss before it was ever proven: a cold server confirms before its
feed exists. One that was proven may miss none."""


class ProvableSource(WakeUpSource, Protocol):
    """A wake-up source that can be judged."""

    record: SourceRecord

    @property
    def link(self) -> Link:
        """The connection that counts."""
        ...


@dataclass(frozen=True, slots=True)
class ProofTimes:
    """Seconds."""

    interval_s: float = 60.0
    """Between two canaries, +-20 %. Each is a Realtime message for every source of every worker."""
    within_s: float = 5.0
    """A canary must be heard: a hosted server looks every 0.5 s and may be slow."""
    again_s: float = 1.0
    """Until the next canary while a source that is ready isn't proven."""
    hint_within_s: float = 2.0
    """A job that has been there for longer should have been announced."""

    @property
    def holds_s(self) -> float:
        """How long a proof holds: until the next canary should have come, at the latest."""
        return self.interval_s * (1 + _SPREAD) + 2 * self.within_s


class ProofOfLife:
    """Judges the sources.

    Args:
        beat: sends a canary unless one was sent within so many seconds; returns the last one.
        sources: who is judged.
        times: intervals.
        clock: seconds, monotonic.
        random: draws from [0, 1).
    """

    def __init__(
        self,
        beat: Callable[[float], Awaitable[Canary]],
        sources: Sequence[ProvableSource],
        times: ProofTimes,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self._beat = beat
        self._sources = sources
        self._times = times
        self._clock = clock
        self._random = random
        self._due = asyncio.Event()
        self._news = asyncio.Event()
        self._misses: dict[str, int] = {}
        self._judged: dict[str, int] = {}
        for source in sources:
            source.record.became_ready = self._due.set
            source.record.heard_canary = self._news.set

    def proven(self, source: ProvableSource) -> bool:
        """Whether something came through the source's connection, and not too long ago."""
        return source.record.proven(source.link, self._clock(), self._times.holds_s)

    def any_proven(self) -> bool:
        """Whether any source is proven."""
        return any(self.proven(source) for source in self._sources)

    def states(self) -> dict[str, dict[str, Any]]:
        """Return each source's state, with the judgement."""
        return {
            source.name: {**source.state(), "proven": self.proven(source)}
            for source in self._sources
        }

    async def run(self) -> None:
        """Send canaries and judge, for ever."""
        while True:
            await self._until_due()
            self._due.clear()
            try:
                await self._prove()
            except (StoreUnavailableError, StoreRejectedError) as error:
                # Nothing was sent, so nothing can be judged; the proofs that there are grow old.
                _log.debug("no canary sent", error=str(error))

    async def _until_due(self) -> None:
        if self._unproven():
            wait_s = self._times.again_s
        else:
            wait_s = self._times.interval_s * (1 + _SPREAD * (2 * self._random() - 1))
        # Not wait_for: until Python 3.12 it can swallow a cancellation.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._due.wait()

    def _unproven(self) -> list[ProvableSource]:
        return [each for each in self._sources if each.link.ready and not self.proven(each)]

    async def _prove(self) -> None:
        if not any(source.link.ready for source in self._sources):
            return
        began = self._clock()
        newest_wanted = _FRESH_S if self._unproven() else self._times.interval_s * _LEAST_AGE
        canary = await self._beat(newest_wanted)
        answered = self._clock()
        own = canary.age_s <= answered - began
        sent_at = began if own else answered - canary.age_s
        # Who became ready about when it was sent needn't have heard it.
        ready_by = sent_at if own else sent_at - _CLOCKS_S
        judged = [each for each in self._sources if self._may_judge(each, canary, ready_by)]
        await self._until_heard(judged, canary.serial, sent_at + self._times.within_s)
        for source in judged:
            self._judge(source, canary.serial, sent_at, ready_by)

    def _may_judge(self, source: ProvableSource, canary: Canary, ready_by: float) -> bool:
        known = self._judged.get(source.name) == canary.serial
        return source.link.ready and source.link.since <= ready_by and not known

    async def _until_heard(
        self, judged: Sequence[ProvableSource], serial: int, until: float
    ) -> None:
        """Wait until all have heard it, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - self._clock())):
                while any(source.record.heard_at(serial) is None for source in judged):
                    self._news.clear()
                    await self._news.wait()
                return
        # What has arrived while this process was busy with something else counts.
        await asyncio.sleep(_MARGIN_S)

    def _judge(self, source: ProvableSource, serial: int, sent_at: float, ready_by: float) -> None:
        self._judged[source.name] = serial
        heard_at = source.record.heard_at(serial)
        if heard_at is not None:
            self._misses[source.name] = 0
            source.record.took(heard_at - sent_at)
            return
        link = source.link
        if not link.ready or link.since > ready_by:
            return  # It ended meanwhile, which it knows itself.
        source.record.missed_canaries += 1
        self._misses[source.name] = misses = self._misses.get(source.name, 0) + 1
        if source.record.ever_proven(link) or misses >= _TRIES:
            self._misses[source.name] = 0
            self._doubt(source, f"no canary heard within {self._times.within_s:g} s")

    def found(self, waited_s: Sequence[float], claimed_at: float) -> None:
        """Take how long ago the hints of claimed jobs were due; one that never came is a miss.

        Args:
            waited_s: seconds, of those jobs of a claim that a hint should have announced.
            claimed_at: when the claim was made, by this object's clock.
        """
        late = [waited for waited in waited_s if waited > self._times.hint_within_s]
        if late:
            due = [claimed_at - waited for waited in late]
            # A hint that is only slow comes within this time: thousands of rows at once take it.
            asyncio.get_running_loop().call_later(self._times.within_s, self._judge_found, due)

    def _judge_found(self, due: Sequence[float]) -> None:
        last = max((each.record.hint_at or 0.0 for each in self._sources), default=0.0)
        unannounced = [moment for moment in due if last < moment - _CLOCKS_S]
        if not unannounced:
            return
        for source in self._sources:
            since = source.link.since if source.link.ready else float("inf")
            if count := sum(since <= moment - _CLOCKS_S for moment in unannounced):
                source.record.missed_hints += count
                self._doubt(source, "a job was found that it had not announced")

    def _doubt(self, source: ProvableSource, reason: str) -> None:
        _log.warning("wake-up source doubted", source=source.name, reason=reason)
        source.doubt(reason)
