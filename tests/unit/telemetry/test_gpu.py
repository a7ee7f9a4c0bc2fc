"""GPU samples: from a driver that tells everything, something, or nothing."""

import asyncio
import logging
import threading
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from daemon.telemetry.gpu import GpuMonitor, GpuSample, MemoryWatch, Nvml, UsedMemory

GIB = 2**30

SAMPLE = GpuSample(0, "GPU 0", 45.0, 8 * GIB, 48 * GIB, 61.0, 212.5)


class Driver:
    """As much of NVML as is asked, for `count` GPUs; `silent` functions aren't supported."""

    NVMLError = pynvml.NVMLError
    NVML_ERROR_NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
    NVML_ERROR_NO_PERMISSION = pynvml.NVML_ERROR_NO_PERMISSION
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(self, count: int = 1, silent: int = 0) -> None:
        self.count = count
        self.silent = silent
        self.inits = 0
        self.lost = False

    def nvmlInit(self) -> None:  # noqa: N802
        self.inits += 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802
        return int(uuid.removeprefix("GPU-"))

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        if self.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return f"GPU {handle}"

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        return self._told(SimpleNamespace(gpu=45))

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        return self._told(SimpleNamespace(used=8 * GIB, total=48 * GIB))

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:  # noqa: N802
        return self._told(61)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        return self._told(212_500)

    def _told(self, answer: Any) -> Any:
        if self.silent:
            raise pynvml.NVMLError(self.silent)
        return answer


def test_driver_has_every_name_that_is_asked() -> None:
    """The fake's names are the library's."""
    for name in dir(Driver):
        if name.startswith(("nvml", "NVML")):
            assert hasattr(pynvml, name)


def test_gpu_is_read_whole() -> None:
    """Utilization, memory and temperature, as the documented sample names them, and power."""
    assert Nvml(nvml=Driver())() == (SAMPLE,)


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION])
def test_figure_that_the_driver_keeps_back_is_none(code: int) -> None:
    """A MIG slice has no utilization: the others are still told."""
    assert Nvml(nvml=Driver(silent=code))() == (GpuSample(0, "GPU 0", None, None, None, None),)


def test_other_errors_are_raised() -> None:
    """An unknown error is no missing figure."""
    with pytest.raises(pynvml.NVMLError):
        Nvml(nvml=Driver(silent=pynvml.NVML_ERROR_UNKNOWN))()


def test_lost_gpu_is_opened_again() -> None:
    """After an error the driver is opened anew, so that a reset GPU comes back."""
    driver = Driver()
    read = Nvml(nvml=driver)
    read()
    driver.lost = True
    with pytest.raises(pynvml.NVMLError):
        read()
    driver.lost = False

    assert read() == (SAMPLE,)
    assert driver.inits == 2


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["GPU 0", "GPU 1", "GPU 2"]),
        ("2,0", ["GPU 2", "GPU 0"]),
        (" 1 ", ["GPU 1"]),
        ("GPU-2", ["GPU 2"]),
        ("0,-1,2", ["GPU 0"]),
        ("0,7,2", ["GPU 0"]),
        ("", []),
    ],
)
def test_gpus_are_those_that_cuda_uses(visible: str | None, names: list[str]) -> None:
    """Numbered as engines number them: by CUDA_VISIBLE_DEVICES."""
    samples = Nvml(visible, Driver(count=3))()

    assert [sample.name for sample in samples] == names
    assert [sample.index for sample in samples] == list(range(len(names)))


def test_high_memory_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """In the documented words; again only after it was low."""
    watch = MemoryWatch([6 * GIB])
    high, low = SAMPLE, GpuSample(0, "GPU 0", 45.0, 6 * GIB, 48 * GIB, 61.0)

    for sample in (low, high, high, low, high):
        watch.look([sample])

    assert [record.getMessage() for record in caplog.records] == [
        "GPU memory usage high: 8.0GB",
        "GPU memory usage high: 8.0GB",
    ]


def test_gpu_without_limit_or_figure_is_not_watched(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing to compare, nothing to say."""
    MemoryWatch([]).look([SAMPLE])
    MemoryWatch([1]).look([GpuSample(0, "MIG", None, None, None, None)])

    assert caplog.records == []


async def test_monitor_hands_on_each_round() -> None:
    """The last sample is kept, and metrics get it in the event loop."""
    rounds: asyncio.Queue[Any] = asyncio.Queue()
    monitor = GpuMonitor(read=lambda: (SAMPLE,), on_sample=rounds.put_nowait, interval_s=60)
    assert monitor.sample() is None

    running = asyncio.create_task(monitor.run())
    first = await asyncio.wait_for(rounds.get(), 10)
    running.cancel()

    assert first == (SAMPLE,)
    assert monitor.sample() == (SAMPLE,)


async def test_machine_without_driver_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """One info line, no figures, no noise."""
    caplog.set_level(logging.INFO)
    rounds: asyncio.Queue[Any] = asyncio.Queue()

    def read() -> tuple[GpuSample, ...]:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monitor = GpuMonitor(read=read, on_sample=rounds.put_nowait, interval_s=0.001)
    running = asyncio.create_task(monitor.run())
    seen = [await asyncio.wait_for(rounds.get(), 10) for _ in range(3)]
    running.cancel()

    assert seen == [(), (), ()]
    assert monitor.sample() is None
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "no GPU figures: NVML Shared Library Not Found" in caplog.text


async def test_used_memory_is_read_at_once() -> None:
    """For one GPU by its index; one that isn't there, or doesn't tell, has no figure."""
    assert await UsedMemory(Nvml(nvml=Driver(count=2)).used)(1) == 8 * GIB
    assert await UsedMemory(Nvml(nvml=Driver()).used)(1) is None
    silent = Driver(silent=pynvml.NVML_ERROR_NOT_SUPPORTED)
    assert await UsedMemory(Nvml(nvml=silent).used)(0) is None


async def test_a_driver_that_fails_has_no_figure_and_is_opened_again() -> None:
    """No error reaches who only waits for memory."""
    driver = Driver(silent=pynvml.NVML_ERROR_GPU_IS_LOST)
    used = UsedMemory(Nvml(nvml=driver).used)
    assert await used(0) is None
    driver.silent = 0

    assert await used(0) == 8 * GIB
    assert driver.inits == 2


async def test_a_read_that_hangs_is_not_waited_for() -> None:
    """A GPU that has fallen off the bus may never answer; there is one such read at a time."""
    goes_on = threading.Event()
    reads = []

    def read(device: int) -> int:
        reads.append(device)
        goes_on.wait(10)
        return 7

    used = UsedMemory(read, timeout_s=0.05)
    assert await used(0) is None
    assert await used(1) is None
    assert reads == [0]
    goes_on.set()
    assert await UsedMemory(read)(2) == 7
