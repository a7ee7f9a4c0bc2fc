"""The devices of a host, as a driver tells them."""

import sys
from types import SimpleNamespace

import pytest

from daemon.devices import find_devices
from daemon.scheduling.models import GIB
from daemon.settings import load_settings
from daemon.startup import NotYetError


@pytest.fixture(autouse=True)
def _driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three GPUs of 24, 48 and 80 GB; what else is asked of them isn't told."""
    memory = [SimpleNamespace(used=0, total=gb * GIB) for gb in (24, 48, 80)]
    driver = SimpleNamespace(
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(memory),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: f"GPU {handle}",
        nvmlDeviceGetMemoryInfo=lambda handle: memory[handle],
        nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=0),
        nvmlDeviceGetTemperature=lambda *_: 40,
        nvmlDeviceGetPowerUsage=lambda _: 70_000,
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.delenv("OURVIDZ_DEVICE__SIMULATE_GB", raising=False)


@pytest.mark.parametrize(
    ("visible", "capacities"), [(None, [24, 48, 80]), ("1", [48]), ("2,0", [80, 24])]
)
def test_a_worker_has_the_gpus_that_it_may_see(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, capacities: list[int]
) -> None:
    """One worker a GPU: the others' memory is others'."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    devices = find_devices(load_settings())

    assert [device.capacity_bytes for device in devices] == [gb * GIB for gb in capacities]
    assert [device.index for device in devices] == list(range(len(capacities)))


def test_a_gpu_that_is_not_there_may_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that isn't loaded yet is a reason to start again."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(NotYetError, match="no GPU found"):
        find_devices(load_settings())


def test_a_gpu_that_tells_no_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others keep the numbers by which engines and the driver name them."""

    class NotSupportedError(Exception):
        value = 3

    def memory(handle: int) -> SimpleNamespace:
        if handle == 1:
            raise NotSupportedError
        return SimpleNamespace(used=0, total=24 * GIB)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    driver = sys.modules["pynvml"]
    monkeypatch.setattr(driver, "NVMLError", NotSupportedError, raising=False)
    monkeypatch.setattr(driver, "NVML_ERROR_NOT_SUPPORTED", 3, raising=False)
    monkeypatch.setattr(driver, "NVML_ERROR_NO_PERMISSION", 4, raising=False)
    monkeypatch.setattr(driver, "nvmlDeviceGetMemoryInfo", memory)

    assert [device.index for device in find_devices(load_settings())] == [0, 2]
