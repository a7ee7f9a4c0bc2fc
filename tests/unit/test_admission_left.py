"""Admissions that are left early: by a cancellation in every moment, or by an error."""

import asyncio

import pytest
from admission_host import host, settled
from virtual_gpu import CHAT, VIDEO, request

from daemon.jobs import ErrorCode, JobError
from daemon.values import Loaded


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
