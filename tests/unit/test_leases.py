"""Leases: batch renewal, the trust deadline, and who is told."""

import asyncio
from uuid import uuid4

import pytest
from scripted import ScriptedStore

from daemon.jobs import LeaseState
from daemon.leases import Leases
from daemon.sections import LeaseSettings
from daemon.values import StoreUnavailableError

SETTINGS = LeaseSettings(duration_s=12, renew_every_s=4, margin_s=2)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_all_claims_are_renewed_in_one_call() -> None:
    """One query, however many jobs are held."""
    store, clock = ScriptedStore(), Clock()
    leases = Leases(lambda: store, SETTINGS, clock)
    first, second = uuid4(), uuid4()

    with leases.hold(first, 100, print), leases.hold(second, 100, print):
        await leases.renew_once(store)

    assert store.renewed == [[first, second]]


async def test_nothing_held_costs_no_query() -> None:
    """An idle worker doesn't renew."""
    store = ScriptedStore()

    await Leases(lambda: store, SETTINGS, Clock()).renew_once(store)

    assert store.renewed == []


async def test_trust_ends_before_the_lease() -> None:
    """Unrenewed, a claim is lost for us two seconds before the database may give it away."""
    ended: list[LeaseState] = []
    clock = Clock()
    leases = Leases(ScriptedStore, SETTINGS, clock)

    with leases.hold(uuid4(), 100, ended.append):
        clock.now = 109.9
        leases.end_untrusted()
        before = list(ended)
        clock.now = 110.0
        leases.end_untrusted()
        leases.end_untrusted()

    assert (before, ended) == ([], [LeaseState.LOST])
    assert leases.stats.lost == 1


async def test_a_renewal_counts_from_when_it_was_sent() -> None:
    """A slow answer doesn't stretch the trust."""
    clock = Clock()

    class Slow(ScriptedStore):
        async def renew(self, claims: object, lease_s: float) -> dict:  # type: ignore[type-arg]
            clock.now += 3
            return await super().renew(claims, lease_s)  # type: ignore[arg-type]

    store = Slow()
    leases = Leases(lambda: store, SETTINGS, clock)

    with leases.hold(uuid4(), 100, print) as lease:
        clock.now = 104
        await leases.renew_once(store)

    assert lease.trusted_until == 104 + 12 - 2


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), RuntimeError("a defect")])
async def test_the_thread_renews_and_tells_the_main_loop(error: Exception) -> None:
    """What the database reports arrives in the main loop, whatever a renewal raised before."""
    claim = uuid4()
    store = ScriptedStore(renewals=[error, {claim: LeaseState.CANCELLED}])
    settings = LeaseSettings(duration_s=120, renew_every_s=0.02, margin_s=0.5)
    leases = Leases(lambda: store, settings)
    told: asyncio.Future[LeaseState] = asyncio.get_running_loop().create_future()

    with leases.hold(claim, leases.clock(), told.set_result):
        running = asyncio.create_task(leases.run())
        state = await asyncio.wait_for(told, 10)
        running.cancel()
        await asyncio.wait([running])

    assert state is LeaseState.CANCELLED
    assert leases.stats.renew_errors == 1
    assert store.closed


# The thread is made to raise.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_ended_ends_the_service() -> None:
    """Nobody would renew any more: the process must be started again."""

    def no_store() -> ScriptedStore:
        raise RuntimeError("no store")

    with pytest.raises(RuntimeError, match="renews leases has ended"):
        async with asyncio.timeout(10):
            await Leases(no_store, LeaseSettings(margin_s=0.02)).run()
