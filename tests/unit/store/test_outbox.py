"""The outbox against a scripted store: grouping, outages, refusals, and stopping."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from daemon.jobs import Completed, Finish, Recorded
from daemon.ports import JobStore
from daemon.store.outbox import Outbox
from daemon.values import StoreRejectedError, StoreUnavailableError


class ScriptedStore:
    """Records finishes; holds calls back, fails or refuses as told."""

    def __init__(self) -> None:
        self.batches: list[list[UUID]] = []
        self.failures: list[Exception] = []
        self.poison: set[UUID] = set()
        self.open = asyncio.Event()
        self.open.set()
        self.called = asyncio.Event()

    async def finish(self, finishes: Sequence[Finish]) -> dict[UUID, Recorded]:
        claims = [finish.claim_id for finish in finishes]
        self.batches.append(claims)
        self.called.set()
        await self.open.wait()
        if self.failures:
            raise self.failures.pop(0)
        if self.poison & set(claims):
            raise StoreRejectedError("refused")
        return dict.fromkeys(claims, Recorded.RECORDED)


async def no_wait(seconds: float) -> None:
    """Take no time."""
    assert seconds <= 5.0


@asynccontextmanager
async def running(store: ScriptedStore, **options: Any) -> AsyncIterator[Outbox]:
    outbox = Outbox(cast("JobStore", store), sleep=no_wait, **options)
    sender = asyncio.create_task(outbox.run())
    yield outbox
    sender.cancel()
    await asyncio.wait([sender])


def a_finish() -> Finish:
    return Finish(uuid4(), Completed({}))


async def test_finish_that_is_alone_is_sent_at_once() -> None:
    """No timer holds it back: one call, one answer."""
    store, finish = ScriptedStore(), a_finish()
    async with running(store) as outbox:
        assert await outbox.finish(finish) is Recorded.RECORDED
    assert store.batches == [[finish.claim_id]]


async def test_finishes_queued_during_a_call_go_together() -> None:
    """In order, and at most so many in one call."""
    store, finishes = ScriptedStore(), [a_finish() for _ in range(8)]
    claims = [finish.claim_id for finish in finishes]
    store.open.clear()
    async with running(store, max_batch=5) as outbox, asyncio.TaskGroup() as group:
        group.create_task(outbox.finish(finishes[0]))
        await store.called.wait()
        for finish in finishes[1:]:
            group.create_task(outbox.finish(finish))
        await asyncio.sleep(0)
        store.open.set()
    assert store.batches == [claims[:1], claims[1:6], claims[6:]]


async def test_outage_is_waited_out() -> None:
    """The same finishes are sent again until there is an answer."""
    store, finish = ScriptedStore(), a_finish()
    store.failures = [StoreUnavailableError("away") for _ in range(20)]
    async with running(store) as outbox:
        assert await outbox.finish(finish) is Recorded.RECORDED
    assert store.batches == [[finish.claim_id]] * 21


async def test_refused_finish_doesn_t_cost_the_others() -> None:
    """The offender learns of it; everything else of its group is recorded."""
    store, finishes = ScriptedStore(), [a_finish() for _ in range(9)]
    store.poison = {finishes[4].claim_id}
    async with running(store) as outbox:
        answers = await asyncio.gather(
            *(outbox.finish(finish) for finish in finishes), return_exceptions=True
        )
    assert isinstance(answers.pop(4), StoreRejectedError)
    assert answers == [Recorded.RECORDED] * 8


async def test_caller_that_stops_waiting_leaves_the_finish_on_its_way() -> None:
    """Whether by time or by cancellation: work that is done gets recorded."""
    store, first, second = ScriptedStore(), a_finish(), a_finish()
    store.open.clear()
    async with running(store) as outbox:
        with pytest.raises(StoreUnavailableError):
            await outbox.finish(first, until=asyncio.get_running_loop().time())
        waiting = asyncio.create_task(outbox.finish(second))
        await asyncio.sleep(0)
        waiting.cancel()
        store.open.set()
        assert await outbox.drain(60)
    assert [first.claim_id, second.claim_id] == [claim for b in store.batches for claim in b]


async def test_drain_gives_up_and_says_so() -> None:
    """A database that stays away doesn't hold the daemon for ever."""
    store = ScriptedStore()
    store.open.clear()
    async with running(store) as outbox:
        waiting = asyncio.create_task(outbox.finish(a_finish()))
        await store.called.wait()
        assert not await outbox.drain(0)
        store.open.set()
        await waiting
        assert await outbox.drain(0)


async def test_what_a_cancelled_sender_held_goes_with_the_next() -> None:
    """Stopping in the middle of a call loses nothing: the call is idempotent."""
    store, finish = ScriptedStore(), a_finish()
    store.open.clear()
    outbox = Outbox(cast("JobStore", store), sleep=no_wait)
    waiting = asyncio.create_task(outbox.finish(finish))
    sender = asyncio.create_task(outbox.run())
    await store.called.wait()
    sender.cancel()
    await asyncio.wait([sender])
    store.open.set()
    sender = asyncio.create_task(outbox.run())

    assert await waiting is Recorded.RECORDED
    sender.cancel()
    await asyncio.wait([sender])
