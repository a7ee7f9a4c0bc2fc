"""What an engine holds: on a GPU, by stand-ins for torch and for the driver."""

import os
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from handlers import memory
from handlers.driver import ASSUMED_BYTES, Driver
from handlers.memory import Meter
from handlers.sharing import Sharing

MIB = 2**20


@dataclass
class Nvml:
    """Lists the processes of one GPU, by process id."""

    processes: dict[int, int | None] = field(default_factory=dict)
    opened: list[str | int] = field(default_factory=list)
    gone: bool = False

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        self.opened.append(index)
        return "gpu"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        self.opened.append(uuid)
        return "gpu"

    def nvmlDeviceGetComputeRunningProcesses(self, _: str) -> list[Any]:  # noqa: N802
        if self.gone:
            raise OSError("GPU is lost")
        return [
            SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.processes.items()
        ]


@dataclass
class Cuda:
    """As much of `torch.cuda` as is asked."""

    reserved: int
    peak: int = 0
    resets: int = 0
    emptied: int = 0

    def memory_reserved(self) -> int:
        return self.reserved

    def max_memory_reserved(self) -> int:
        return self.peak

    def reset_peak_memory_stats(self) -> None:
        self.resets += 1

    def empty_cache(self) -> None:
        self.emptied += 1


@pytest.mark.parametrize("named", [os.getpid(), 4_000_001], ids=["this", "another"])
def test_the_driver_knows_what_the_allocator_does_not(named: int) -> None:
    """By this process's own id, or in a container by the one id that is new on the GPU."""
    nvml = Nvml({4_000_000: 900 * MIB})
    driver = Driver("0", nvml)
    nvml.processes[named] = 1500 * MIB

    assert driver.beyond(1000 * MIB) == 500 * MIB
    nvml.processes[4_000_002] = 700 * MIB
    assert driver.beyond(1400 * MIB) == 100 * MIB
    assert driver.beyond(1600 * MIB) == 0


@pytest.mark.parametrize(
    "found", [{}, {4_000_001: 1, 4_000_002: 2}, {4_000_001: None}], ids=["none", "two", "untold"]
)
def test_what_the_driver_does_not_tell_is_assumed(found: dict[int, int | None]) -> None:
    """It lists nobody, or two that may be this one, or no figures."""
    nvml = Nvml()
    driver = Driver("GPU-1", nvml)
    nvml.processes = found

    assert driver.beyond(0) == ASSUMED_BYTES
    assert nvml.opened == ["GPU-1"]


def test_a_driver_that_fails_is_one_that_does_not_tell() -> None:
    """A lost GPU must not end a run that only wanted to be measured."""
    nvml = Nvml({os.getpid(): 7})
    driver = Driver("3", nvml)
    nvml.gone = True

    assert driver.beyond(0) == ASSUMED_BYTES
    assert Driver("", nvml).beyond(0) == ASSUMED_BYTES
    assert nvml.opened == [3]


@pytest.mark.parametrize("outside", [0, 4_000_000], ids=["by their ids", "in a container"])
def test_processes_that_compute_apart_are_counted_together(outside: int) -> None:
    """All of the engine's group, and nobody who came to the GPU later."""
    nvml = Nvml({9: 900 * MIB})
    driver = Driver("0", nvml)
    nvml.processes |= {outside + 11: 300 * MIB, outside + 12: 500 * MIB}
    assert driver.held() is None  # two may be anybody's as long as the group isn't known

    driver.fix([os.getpid(), 11, 12, 13])
    held = driver.held()
    nvml.processes[10] = 7 * MIB

    assert held == driver.held() == 800 * MIB


def test_what_computes_apart_holds_its_grant_if_the_driver_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The resident sets say nothing of a GPU; without a GPU they are all there is."""
    monkeypatch.setattr(memory, "_cuda", lambda: None)
    group = [os.getpid()]
    monkeypatch.setattr(memory, "members", lambda _: list(group))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    meter = Meter(Driver("0", Nvml(gone=True)))
    group.append(os.getppid())

    assert meter.loaded(4000 * MIB) == meter.peak() == meter.held() == 4000 * MIB
    assert meter.left(3000 * MIB) == 4000 * MIB
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert Meter(Driver("")).loaded(4000 * MIB) < 4000 * MIB


def test_a_peak_is_that_of_the_whole_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, cached segments and the context; the first of several runs begins it."""
    nvml = Nvml()
    cuda = Cuda(reserved=1000 * MIB, peak=1800 * MIB)
    meter = Meter(Driver("0", nvml))
    nvml.processes[os.getpid()] = 1400 * MIB
    monkeypatch.setattr(memory, "_cuda", lambda: cuda)

    meter.begin()
    meter.begin()

    assert meter.peak() == 2200 * MIB
    assert meter.held() == 1400 * MIB
    assert cuda.resets == 1
    assert [meter.end(), meter.end()] == [False, True]
    assert cuda.emptied == 0
    assert meter.settled() == 1400 * MIB
    assert cuda.emptied == 1
    assert meter.left(900 * MIB) == 1400 * MIB


def test_who_wants_a_thing_alone_waits_for_its_users() -> None:
    """And lets nobody in meanwhile."""
    sharing = Sharing()
    order: list[str] = []
    alone, after = threading.Event(), threading.Event()

    def have_alone() -> None:
        with sharing.alone():
            order.append("alone")
            alone.set()
            after.wait(10)
            order.append("alone no more")

    def use() -> None:
        alone.wait(10)
        after.set()
        with sharing.shared():
            order.append("shared")

    threads = [threading.Thread(target=have_alone), threading.Thread(target=use)]
    with sharing.shared(), sharing.shared():
        for thread in threads:
            thread.start()
        order.append("shared first")
    for thread in threads:
        thread.join(10)

    assert order == ["shared first", "alone", "alone no more", "shared"]
