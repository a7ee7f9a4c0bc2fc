"""Slow readings: kept, aged, and never waited for."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from daemon.telemetry.host import Host, process_memory
from daemon.telemetry.sampling import Sampler


async def sampled_once(sampler: Sampler[int], arrived: asyncio.Event) -> None:
    running = asyncio.create_task(sampler.run())
    await asyncio.wait_for(arrived.wait(), 10)
    running.cancel()


async def test_old_value_is_not_told() -> None:
    """A reader that hangs must not show its last figure for ever."""
    now = [100.0]
    arrived = asyncio.Event()
    sampler = Sampler(
        "x", lambda: 7, interval_s=60, on_sample=lambda _: arrived.set(), clock=lambda: now[0]
    )
    await sampled_once(sampler, arrived)

    fresh = sampler.sample()
    now[0] += 4 * 60
    still = sampler.sample()
    now[0] += 0.1

    assert (fresh, still, sampler.sample()) == (7, 7, None)


async def test_hanging_reader_holds_up_nobody() -> None:
    """The service ends while its reader still hangs in the driver."""
    entered, leave = threading.Event(), threading.Event()

    def read() -> int:
        entered.set()
        leave.wait(60)
        return 1

    sampler = Sampler("x", read)
    running = asyncio.create_task(sampler.run())
    await asyncio.to_thread(entered.wait, 10)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=10)
    leave.set()

    assert done == {running}
    assert sampler.sample() is None


async def test_listener_hears_that_the_reader_hangs() -> None:
    """Who is told of each value is also told when the last one is too old."""
    leave = threading.Event()
    values = iter([7])
    seen: asyncio.Queue[int | None] = asyncio.Queue()

    def read() -> int:
        for value in values:
            return value
        leave.wait(60)
        return 8

    sampler = Sampler("x", read, interval_s=0.001, on_sample=seen.put_nowait)
    running = asyncio.create_task(sampler.run())
    rounds = [await asyncio.wait_for(seen.get(), 10) for _ in range(2)]
    running.cancel()
    leave.set()

    assert rounds == [7, None]


async def test_error_forgets_the_value() -> None:
    """After a failed read there is no value, and the listener is told so."""
    values = iter([7])
    seen: asyncio.Queue[int | None] = asyncio.Queue()
    sampler = Sampler("x", lambda: next(values), interval_s=0.001, on_sample=seen.put_nowait)
    running = asyncio.create_task(sampler.run())
    rounds = [await asyncio.wait_for(seen.get(), 10) for _ in range(2)]
    running.cancel()

    assert rounds == [7, None]
    assert sampler.sample() is None


def test_host_reads_disk_and_own_memory(tmp_path: Path) -> None:
    """The folder needn't exist yet: the file system that it will be on counts."""
    sample = Host(tmp_path / "not" / "yet")()
    disk = os.statvfs(tmp_path)

    assert sample.disk_total == disk.f_blocks * disk.f_frsize
    assert sample.disk_used is not None
    assert sample.process_memory is not None
    assert 2**20 < sample.process_memory < 2**40


def test_memory_without_proc_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux there is no figure, rather than 0."""

    def absent(self: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", absent)

    assert process_memory() is None
