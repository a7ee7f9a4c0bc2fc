"""Admission: grants, refusals, and what is known of the engines and of others' memory."""

import asyncio

import pytest
from admission_host import host, settled
from virtual_gpu import CHAT, VIDEO

from daemon.jobs import ErrorCode, JobError
from daemon.scheduling.models import GIB
from daemon.scheduling.residency import Residency
from daemon.values import RefusedError, Waits


async def test_a_request_waits_for_its_model_and_runs() -> None:
    """Load, grant, run, return: the shortest way."""
    async with host(CHAT) as gpu:
        run = asyncio.create_task(gpu.one_run("a", "chat"))
        await settled()
        assert not run.done()
        engine = await gpu.loaded()
        assert gpu.scheduler.state.ledgers[0].reserved_by("chat") > 0
        engine.may_end.set()
        output = await run

        assert output.fields == {"run": "a"}
        assert gpu.scheduler.state.ledgers[0].reserved_by("chat") == 0
        assert gpu.scheduler.state.estimates.coverage["chat", "fast"].runs == 1
    assert engine.stops == 1


async def test_a_slot_that_frees_wakes_the_intake() -> None:
    """The hook is called after each end, and the demand is there to be read then."""
    async with host(VIDEO) as gpu:
        run = asyncio.create_task(gpu.one_run("a", "video"))
        await settled()
        engine = await gpu.loaded()
        changes, before = gpu.changes, [each.count for each in gpu.admissions.demand()]
        engine.may_end.set()
        await run

        assert gpu.changes == changes + 1
        assert (before, [each.count for each in gpu.admissions.demand()]) == ([1], [1, 1])


async def test_draining_demands_nothing() -> None:
    """And the snapshot says so."""
    async with host(CHAT) as gpu:
        assert gpu.admissions.demand() != ()
        gpu.admissions.drain()

        assert gpu.admissions.demand() == ()
        assert gpu.admissions.snapshot().draining


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (JobError(ErrorCode.VRAM_OVERFLOW, "too big"), ErrorCode.VRAM_OVERFLOW, "too big"),
        (OSError("no python"), ErrorCode.MODEL_LOAD_FAILED, "no python"),
    ],
)
async def test_a_failed_load_answers_who_waits(
    error: Exception, code: ErrorCode, message: str
) -> None:
    """Whatever the engine raises; the engine is stopped before anybody hears of it."""
    async with host(CHAT) as gpu:
        gpu.load_errors.append(error)
        run = asyncio.create_task(gpu.one_run("a", "chat"))
        await settled()
        await gpu.loaded()
        with pytest.raises(JobError, match=message) as refused:
            await run

        assert refused.value.error_code is code
        assert gpu.engines[0].stops == 1
        assert gpu.residency("chat") is Residency.COLD
        with pytest.raises(JobError, match="next try to load in 5 s"):
            await gpu.one_run("b", "chat")
        assert gpu.admissions.demand() == ()
        gpu.clock.advance(5)
        assert gpu.admissions.demand() != ()


async def test_two_engines_that_die_in_a_load_answer_who_waits() -> None:
    """With the second one's end; the bytes are held from the first load on until it is gone."""
    async with host(CHAT) as gpu:
        run = asyncio.create_task(gpu.one_run("a", "chat"))
        await settled()
        gpu.engines[0].die("signal 9")
        await settled()
        assert not run.done()
        assert gpu.scheduler.state.ledgers[0].weights_of("chat") == CHAT.weights_bytes
        gpu.engines[1].die("signal 11")
        with pytest.raises(JobError, match="signal 11") as refused:
            await run

        assert refused.value.error_code is ErrorCode.MODEL_LOAD_FAILED
        assert [engine.stops for engine in gpu.engines] == [1, 1]
        assert gpu.scheduler.state.ledgers[0].held_bytes == 0
        assert gpu.residency("chat") is Residency.COLD


async def test_an_id_is_admitted_once_at_a_time() -> None:
    """The second is an error in the caller and doesn't disturb the first."""
    async with host(CHAT) as gpu:
        first = asyncio.create_task(gpu.one_run("a", "chat"))
        await settled()
        with pytest.raises(ValueError, match="submitted before"):
            await gpu.one_run("a", "chat")
        (await gpu.loaded()).may_end.set()

        assert (await first).fields == {"run": "a"}


async def test_a_refusal_says_for_how_long_its_request_waited_and_why() -> None:
    """A load that fails after a while was a wait for the load."""
    async with host(CHAT) as gpu:
        gpu.load_errors.append(JobError(ErrorCode.MODEL_LOAD_FAILED, "no file"))
        run = asyncio.create_task(gpu.one_run("a", "chat"))
        await settled()
        gpu.clock.advance(7)
        await gpu.loaded()
        with pytest.raises(RefusedError) as refused:
            await run

        assert refused.value.waited == Waits(0, 0, 0, 7)


async def test_what_a_driver_shows_beyond_reserve_and_promises_is_others() -> None:
    """The driver's own bytes are in the reserve, the worker's in the ledger."""
    async with host(CHAT) as gpu:
        run = asyncio.create_task(gpu.one_run("a", "chat"))
        await settled()
        await gpu.loaded()
        ledger = gpu.scheduler.state.ledgers[0]
        used = ledger.device.reserve_bytes + ledger.held_bytes
        gpu.admissions.used_by_others(0, used + 3 * GIB)
        assert ledger.outside_bytes == 3 * GIB
        gpu.admissions.used_by_others(0, used - GIB)

        assert ledger.outside_bytes == 0
        run.cancel()
        await settled()


async def test_an_engine_that_a_run_finds_gone_gets_no_other_run() -> None:
    """Before the pool has heard of it: its next job waits for another engine."""
    async with host(CHAT) as gpu:
        run = asyncio.create_task(gpu.one_run("a", "chat"))
        await settled()
        await gpu.loaded()
        gpu.admissions.engine_gone("a")
        other = asyncio.create_task(gpu.one_run("b", "chat"))
        await settled()

        assert gpu.residency("chat") is Residency.EVICTING
        assert "b" in gpu.scheduler.state.waiting
        run.cancel()
        other.cancel()
        await settled()
