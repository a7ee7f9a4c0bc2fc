"""Sources that go silent without a word: seen by canaries, replaced, and no job waits for long."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from daemon_process import Daemon
from eventually import eventually
from projects import Project

from devstack.realtime import Faults

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]
QUICK = {
    "OURVIDZ_WORKER_TYPE": "chat",
    "OURVIDZ_WAKEUPS__CANARY_INTERVAL_S": "1",
    "OURVIDZ_WAKEUPS__CANARY_WITHIN_S": "2",
}


@pytest_asyncio.fixture(loop_scope="session")
async def faults(supabase: Project) -> AsyncIterator[Faults]:
    """The project's Realtime server's, none of them left on."""
    assert supabase.stack is not None
    yield supabase.stack.realtime.faults
    supabase.stack.realtime.faults.deaf = False


async def wakeups(daemon: Daemon) -> dict[str, dict[str, Any]]:
    _, status = await daemon.get("/status")
    found: dict[str, dict[str, Any]] = status["wakeups"]
    return found


async def until_proven(daemon: Daemon, *names: str) -> dict[str, dict[str, Any]]:
    async def proven() -> bool:
        states = await wakeups(daemon)
        return all(states[name]["proven"] for name in names)

    await eventually(proven, what=f"{names} are proven")
    return await wakeups(daemon)


async def test_every_source_is_proven_by_canaries(
    supabase: Project, faults: Faults, daemon: StartDaemon
) -> None:
    """The age of the proof and the way's length are shown, on /status and as metrics."""
    del faults
    async with daemon(supabase, **QUICK) as worker:
        await until_proven(worker, "realtime", "broadcast")

        async def measured() -> bool:
            states = (await wakeups(worker)).values()
            return all(state["canary_delay_s"] is not None for state in states)

        # A canary is heard before it is judged.
        await eventually(measured, what="the canaries' way is measured")
        for state in (await wakeups(worker)).values():
            assert state["canaries"] >= 1
            assert 0 <= state["canary_delay_s"] < 5
            assert state["missed_hints"] == 0
        _, metrics = await worker.get("/metrics")
        for name in ("realtime", "broadcast"):
            assert f'ourvidz_wakeup_source_proven{{source="{name}"}} 1.0' in metrics
        _, health = await worker.get("/health")
        assert "proven" not in str(health)


async def test_deaf_sources_are_found_out_and_replaced(
    supabase: Project, faults: Faults, daemon: StartDaemon
) -> None:
    """Joined, confirmed, heartbeats answered, and nothing comes.

    The worker says so, sweeps faster, runs jobs all the same, and hears again when it can.
    """
    rarely = {"OURVIDZ_WAKEUPS__SWEEP_INTERVAL_S": "600"}
    async with daemon(supabase, **QUICK, **rarely) as worker:
        await until_proven(worker, "realtime", "broadcast")
        faults.deaf = True

        async def found_out() -> bool:
            states = await wakeups(worker)
            return not any(state["proven"] for state in states.values())

        await eventually(found_out, what="both sources are found out")
        # Swept every 2 s, instead of 600.
        await supabase.until(await supabase.insert(), "completed")
        _, health = await worker.get("/health")
        assert "no wake-up source is proven alive" in str(health)

        faults.deaf = False
        states = await until_proven(worker, "realtime", "broadcast")
        assert all(state["doubts"] >= 1 for state in states.values())
        assert all(state["missed_canaries"] >= 1 for state in states.values())


async def test_the_canaries_of_a_fleet_are_shared(
    supabase: Project, faults: Faults, daemon: StartDaemon
) -> None:
    """Three workers, each proven, and no more canaries than one of them would send."""
    del faults
    quick = {**QUICK, "OURVIDZ_WAKEUPS__CANARY_INTERVAL_S": "3"}
    made = [daemon(supabase, f"worker-{number}", **quick) for number in range(3)]
    async with made[0] as one, made[1] as two, made[2] as three:
        for each in (one, two, three):
            await until_proven(each, "realtime", "broadcast")
        serial = "select serial from ourvidz_canary"
        owner = supabase.database.owner
        began = asyncio.get_running_loop().time()
        first = await owner.fetchval(serial)
        async with asyncio.timeout(120):
            while (sent := await owner.fetchval(serial)) < first + 3:
                await asyncio.sleep(0.05)
        took_s = asyncio.get_running_loop().time() - began
        # At most one each 70 % of an interval, however many workers there are.
        assert took_s > (sent - first - 1) * 3 * 0.7
