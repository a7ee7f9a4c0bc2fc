"""Admission: grants, refusals, cancellation in every moment, timers."""

import asyncio

import pytest
from admission_host import host, settled
from virtual_gpu import CHAT, SDXL, VIDEO, model, request

from daemon.jobs import ErrorCode, JobError
from daemon.scheduling.models import GIB
from daemon.scheduling.residency import Residency
from daemon.values import EngineLostError, Loaded, RefusedError, Waits


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
        (EngineLostError("signal 11"), ErrorCode.MODEL_LOAD_FAILED, "signal 11"),
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


async def test_who_is_cancelled_while_waiting_withdraws() -> None:
    """Nothing of it stays, and the next in line is served."""
    async with host(VIDEO) as gpu:
        runs = [asyncio.create_task(gpu.one_run(name, "video")) for name in "abc"]
        await settled()
        engine = await gpu.loaded()
        runs[1].cancel()
        await settled()
        assert runs[1].cancelled()
        engine.may_end.set()

        assert (await runs[0]).fields == {"run": "a"}
        assert (await runs[2]).fields == {"run": "c"}
        assert not gpu.scheduler.state.waiting
        assert not gpu.scheduler.state.runs


async def test_a_grant_that_meets_a_cancellation_is_returned() -> None:
    """The grant comes between `cancel()` and the moment in which the waiter notices it."""
    async with host(VIDEO) as gpu:
        waiter = asyncio.create_task(gpu.one_run("a", "video"))
        await settled()
        waiter.cancel()
        gpu.admissions.load_done("video", 0, Loaded(VIDEO.weights_bytes, 1.0))
        assert "a" in gpu.scheduler.state.runs
        with pytest.raises(asyncio.CancelledError):
            await waiter

        assert not gpu.scheduler.state.runs
        assert gpu.scheduler.state.ledgers[0].reserved_by("video") == 0


async def test_a_grant_that_was_not_yet_noticed_is_returned_on_cancellation() -> None:
    """The cancellation comes between the grant and the moment in which the waiter notices it."""
    async with host(VIDEO) as gpu:
        waiter = asyncio.create_task(gpu.one_run("a", "video"))
        await settled()
        gpu.admissions.load_done("video", 0, Loaded(VIDEO.weights_bytes, 1.0))
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter

        assert not gpu.scheduler.state.runs


@pytest.mark.parametrize("cancel_first", [True, False])
async def test_a_refusal_that_meets_a_cancellation_is_forgotten(cancel_first: bool) -> None:
    """There is nothing to withdraw any more."""
    async with host(VIDEO) as gpu:
        waiter = asyncio.create_task(gpu.one_run("a", "video"))
        await settled()
        acts = [
            waiter.cancel,
            lambda: gpu.admissions.load_failed(
                "video", 0, JobError(ErrorCode.MODEL_LOAD_FAILED, "no")
            ),
        ]
        for act in acts if cancel_first else reversed(acts):
            act()
        with pytest.raises(asyncio.CancelledError):
            await waiter

        assert not gpu.scheduler.state.waiting


async def test_an_error_in_the_block_returns_the_reservation() -> None:
    """Leaving is leaving."""
    async with host(VIDEO) as gpu:

        async def fail() -> None:
            async with gpu.admissions.admit(request("a", "video")):
                raise ZeroDivisionError

        failing = asyncio.create_task(fail())
        await settled()
        await gpu.loaded()
        with pytest.raises(ZeroDivisionError):
            await failing

        assert not gpu.scheduler.state.runs


async def test_the_reservation_outlives_whoever_stopped_waiting() -> None:
    """A run that goes on in the engine keeps its bytes, although the block was left."""
    async with host(VIDEO) as gpu:
        runs = []

        async def leave_early() -> None:
            async with gpu.admissions.admit(request("a", "video")) as engine:
                runs.append(asyncio.create_task(engine.run("a", "handler", {}, lambda _: None)))
                await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="after its admission was left"):
                await engine.run("b", "handler", {}, lambda _: None)

        leaving = asyncio.create_task(leave_early())
        await settled()
        engine = await gpu.loaded()
        await leaving
        assert "a" in gpu.scheduler.state.runs
        engine.may_end.set()
        await runs[0]

        assert not gpu.scheduler.state.runs


async def test_an_id_is_admitted_once_at_a_time() -> None:
    """The second is an error in the caller and doesn't disturb the first."""
    async with host(CHAT) as gpu:
        first = asyncio.create_task(gpu.one_run("a", "chat"))
        await settled()
        with pytest.raises(ValueError, match="submitted before"):
            await gpu.one_run("a", "chat")
        (await gpu.loaded()).may_end.set()

        assert (await first).fields == {"run": "a"}


async def test_an_idle_model_goes_after_the_timer() -> None:
    """The scheduler's deadline becomes a timer, and the timer an unload."""
    first, second = (
        model("first", 16, 12, 1, fast=(16, 1)),
        model("second", 16, 12, 1, fast=(16, 1)),
    )
    async with host(first, second) as gpu:
        run = asyncio.create_task(gpu.one_run("a", "first"))
        await settled()
        (await gpu.loaded()).may_end.set()
        await run
        other = asyncio.create_task(gpu.one_run("b", "second"))
        await settled()
        assert gpu.residency("first") is Residency.RESIDENT
        gpu.clock.advance(1.0)
        await settled()
        assert gpu.engines[0].stops == 1
        assert gpu.residency("first") is Residency.COLD
        (await gpu.loaded(1)).may_end.set()

        assert (await other).fields == {"run": "b"}


async def test_a_timer_that_comes_early_counts_as_in_time() -> None:
    """Event loops call up to a clock tick early; nothing may be missed by that."""
    async with host(VIDEO, SDXL) as gpu:
        blocked = asyncio.create_task(gpu.one_run("a", "video"))
        await settled()
        await gpu.loaded()
        waiting = asyncio.create_task(
            gpu.admissions.admit(request("s", "sdxl", "high")).__aenter__()
        )
        await settled()
        (timer,) = [each for each in gpu.clock.timers if not each.cancelled]
        gpu.clock.now = timer.when - 1e-4
        timer.callback()

        assert gpu.residency("sdxl") is Residency.LOADING
        for each in (blocked, waiting):
            each.cancel()
        await settled()


async def test_only_the_nearest_timer_is_armed() -> None:
    """A nearer deadline replaces the timer; a later one is found when the timer comes."""
    async with host(VIDEO, SDXL) as gpu:
        runs = [asyncio.create_task(gpu.one_run("a", "video"))]
        await settled()
        engine = await gpu.loaded()
        runs.append(asyncio.create_task(gpu.one_run("s", "sdxl")))
        await settled()
        assert [each.when for each in gpu.clock.timers if not each.cancelled] == [60]
        gpu.clock.now = 20
        engine.may_end.set()
        await runs[0]
        await settled()

        assert [each.cancelled for each in gpu.clock.timers].count(False) <= 1
        runs[1].cancel()
        await settled()


async def test_a_cancellation_goes_straight_to_the_engine() -> None:
    """The engine stops the run at its next step."""
    async with host(CHAT) as gpu:
        admission = gpu.admissions.admit(request("a", "chat"))
        entering = asyncio.create_task(admission.__aenter__())
        await settled()
        fake = await gpu.loaded()
        (await entering).cancel("a")
        await admission.__aexit__(None, None, None)

        assert fake.cancelled == ["a"]


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
