"""The judgement of sources: who is proven, who is doubted, and for which reason."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from daemon.ports import WakeUp
from daemon.values import Canary, StoreUnavailableError
from daemon.wakeups.link import Link, LinkEvent
from daemon.wakeups.proof import ProofOfLife, ProofTimes
from daemon.wakeups.record import SourceRecord

TIMES = ProofTimes(interval_s=0.02, within_s=0.02, again_s=0.005, hint_within_s=2.0)


class Source:
    """A source that hears canaries, or is deaf."""

    def __init__(self, name: str = "realtime", *, deaf: bool = False) -> None:
        self.name = name
        self.record = SourceRecord(name)
        self.link = Link(now=0)
        self.deaf = deaf
        self.reasons: list[str] = []
        self.doubted = asyncio.Event()

    def become_ready(self) -> None:
        self.link.move(LinkEvent.CONFIRMED, asyncio.get_running_loop().time())
        self.record.became_ready()

    def hear(self, serial: int) -> None:
        if not self.deaf:
            self.record.canary(serial, asyncio.get_running_loop().time())

    def state(self) -> Mapping[str, Any]:
        return self.record.state(self.link, asyncio.get_running_loop().time())

    def doubt(self, reason: str) -> None:
        self.record.doubts += 1
        self.reasons.append(reason)
        self.link.move(LinkEvent.ENDED, asyncio.get_running_loop().time())
        self.doubted.set()

    async def is_doubted(self) -> None:
        """Wait until it is."""
        async with asyncio.timeout(5):
            await self.doubted.wait()

    async def run(self, wake: WakeUp) -> None:
        raise NotImplementedError


class Database:
    """Sends canaries to the sources."""

    def __init__(self, *sources: Source) -> None:
        self.sources = sources
        self.serial = 0
        self.asked: list[float] = []
        self.away = False
        self.beaten = asyncio.Event()
        self.age_s = 0.0

    async def beat(self, min_age_s: float) -> Canary:
        self.asked.append(min_age_s)
        self.beaten.set()
        if self.away:
            raise StoreUnavailableError("away")
        self.serial += 1
        for source in self.sources:
            source.hear(self.serial)
        return Canary(self.serial, self.age_s, broadcast=True)

    async def asked_times(self, times: int) -> None:
        """Wait until it was asked so often."""
        async with asyncio.timeout(5):
            while len(self.asked) < times:
                self.beaten.clear()
                await self.beaten.wait()


def proof_of(database: Database, times: ProofTimes = TIMES) -> ProofOfLife:
    return ProofOfLife(database.beat, database.sources, times, random=lambda: 0.5)


@asynccontextmanager
async def running(proof: ProofOfLife) -> AsyncIterator[None]:
    life = asyncio.create_task(proof.run())
    try:
        yield
        assert not life.done()
    finally:
        life.cancel()
        await asyncio.wait({life})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_a_source_is_proven_as_soon_as_it_is_ready() -> None:
    """No interval passes before it is."""
    source = Source()
    database = Database(source)
    proof = proof_of(database, ProofTimes(interval_s=3600))
    async with running(proof):
        await asyncio.sleep(0)
        assert not proof.any_proven()
        source.become_ready()
        await until(proof.any_proven)

    assert proof.states()["realtime"]["proven"] is True
    assert source.record.delay_s is not None


async def test_a_source_that_falls_silent_is_doubted_at_the_first_miss() -> None:
    """It is joined and confirmed, and hears nothing."""
    source, other = Source(), Source("listen")
    proof = proof_of(Database(source, other))
    async with running(proof):
        source.become_ready()
        other.become_ready()
        await until(lambda: proof.proven(source) and proof.proven(other))
        source.deaf = True
        await source.is_doubted()

    assert source.record.missed_canaries == 1
    assert source.reasons == ["no canary heard within 0.02 s"]
    assert not other.reasons


async def test_a_connection_that_was_never_proven_has_two_tries() -> None:
    """A cold server says that it is ready before it is."""
    source = Source(deaf=True)
    async with running(proof_of(Database(source))):
        source.become_ready()
        await source.is_doubted()

    assert source.record.missed_canaries == 2


async def test_what_became_ready_after_a_canary_isnt_judged_by_it() -> None:
    """Somebody else has sent it, a while ago."""
    source = Source(deaf=True)
    database = Database(source)
    database.age_s = 10.0
    async with running(proof_of(database)):
        source.become_ready()
        await database.asked_times(4)

    assert source.record.missed_canaries == 0


async def test_a_database_that_is_away_proves_nothing_wrong() -> None:
    """No canary was sent, so none can be missed; the sending goes on."""
    source = Source()
    database = Database(source)
    database.away = True
    async with running(proof_of(database)):
        source.become_ready()
        await database.asked_times(3)
        assert not source.reasons
        database.away = False
        await database.asked_times(len(database.asked) + 1)
        assert source.record.canaries == 1


async def test_a_proven_source_is_content_with_a_canary_of_somebody_else() -> None:
    """The first one has to be new; later ones may be as old as most of an interval."""
    source = Source()
    database = Database(source)
    async with running(proof_of(database)):
        source.become_ready()
        await database.asked_times(3)

    assert database.asked[0] == pytest.approx(0.1)
    assert database.asked[2] == pytest.approx(0.014)


async def test_nobody_asks_the_database_while_no_source_is_ready() -> None:
    """There is nothing to prove."""
    database = Database(Source())
    proof = proof_of(database)
    async with running(proof):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await database.beaten.wait()


class TestFound:
    """Jobs that were found though nobody had announced them."""

    @staticmethod
    def source(ready_at: float, *, hint_at: float | None = None) -> Source:
        source = Source()
        source.link.move(LinkEvent.CONFIRMED, ready_at)
        source.record.hint_at = hint_at
        return source

    @staticmethod
    async def judged(source: Source, waited_s: float, *, at: float = 100.0) -> Source:
        proof = proof_of(Database(source), ProofTimes(within_s=0.001))
        proof.found([waited_s], at)
        judged = asyncio.Event()
        asyncio.get_running_loop().call_later(0.005, judged.set)
        await judged.wait()
        return source

    async def test_a_missed_hint_is_counted_and_the_source_doubted(self) -> None:
        """It was ready long before, and has said nothing since."""
        source = await self.judged(self.source(10.0, hint_at=50.0), 20.0)
        assert source.record.missed_hints == 1
        assert source.reasons == ["a job was found that it had not announced"]

    async def test_a_hint_since_then_acquits(self) -> None:
        """The job waited for something else, such as room."""
        source = await self.judged(self.source(10.0, hint_at=80.0), 20.0)
        assert not source.reasons

    async def test_a_source_that_wasnt_ready_then_promised_nothing(self) -> None:
        """It came back after the job was inserted."""
        source = await self.judged(self.source(90.0), 20.0)
        assert source.record.missed_hints == 0

    async def test_a_job_that_waited_a_moment_says_nothing(self) -> None:
        """Its hint may be on the way."""
        source = await self.judged(self.source(10.0), 1.9)
        assert not source.reasons

    async def test_a_hint_that_comes_late_acquits(self) -> None:
        """Thousands of rows at once take seconds."""
        source = self.source(10.0)
        proof = proof_of(Database(source), ProofTimes(within_s=0.001))
        proof.found([20.0], 100.0)
        await asyncio.sleep(0)
        source.record.hint_at = 101.0
        judged = asyncio.Event()
        asyncio.get_running_loop().call_later(0.005, judged.set)
        await judged.wait()
        assert not source.reasons
