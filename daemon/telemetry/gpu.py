"""What the GPUs do, as NVML tells it; nothing where there is no GPU.

NVML calls block, and for ever when a GPU has fallen off the bus. They run in a thread of their
own, which the process doesn't wait for; whoever asks gets the last sample, or none when it is too
old to be true.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from daemon.telemetry.sampling import Sampler

_log = logging.getLogger("daemon.telemetry.gpu")

GIB = 2**30


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU at one moment. What the driver doesn't tell (MIG has no utilization) is None.

    Attributes:
        index: position among the GPUs that this process may use, from 0.
        name: the product's name.
        utilization: percent of time in which a kernel ran.
        memory_used: bytes in use, by anybody.
        memory_total: bytes.
        temperature: degrees Celsius.
        power: watts.
    """

    index: int
    name: str
    utilization: float | None
    memory_used: int | None
    memory_total: int | None
    temperature: float | None
    power: float | None = None


class Nvml:
    """Reads all GPUs. The driver is opened at the first read and again after an error."""

    def __init__(self, visible: str | None = None, nvml: Any = None) -> None:
        """Take `visible` as CUDA_VISIBLE_DEVICES means it: None is all, "" is none."""
        self._visible = visible
        self._nvml = nvml
        self._handles: list[Any] | None = None

    def __call__(self) -> tuple[GpuSample, ...]:
        """Return a sample of each GPU.

        Raises:
            Exception: NVML's own error or an ImportError: no driver, or a GPU is gone.
        """
        try:
            return tuple(self._sample(*pair) for pair in enumerate(self._opened()))
        except Exception:
            self._handles = None
            raise

    def used(self, index: int) -> int | None:
        """Return the bytes of one GPU in use, by anybody; None: there is no such GPU.

        Raises:
            Exception: as a call does.
        """
        try:
            handles = self._opened()
            if index >= len(handles):
                return None
            memory = self._told(self._nvml.nvmlDeviceGetMemoryInfo, handles[index])
        except Exception:
            self._handles = None
            raise
        return None if memory is None else int(memory.used)

    def driver(self) -> str:
        """Return the driver's version.

        Raises:
            Exception: as a call does.
        """
        self._opened()
        version = self._nvml.nvmlSystemGetDriverVersion()
        return version.decode() if isinstance(version, bytes) else str(version)

    def _opened(self) -> list[Any]:
        if self._nvml is None:
            import pynvml

            self._nvml = pynvml
        if self._handles is None:
            self._nvml.nvmlInit()
            self._handles = self._visible_handles()
        return self._handles

    def _visible_handles(self) -> list[Any]:
        count: int = self._nvml.nvmlDeviceGetCount()
        if self._visible is None:
            return [self._nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        handles = []
        for name in filter(None, (part.strip() for part in self._visible.split(","))):
            if not name.lstrip("-").isdigit():
                handles.append(self._nvml.nvmlDeviceGetHandleByUUID(name))
            elif 0 <= int(name) < count:
                handles.append(self._nvml.nvmlDeviceGetHandleByIndex(int(name)))
            else:  # CUDA ignores everything from the first invalid index on
                break
        return handles

    def _sample(self, index: int, handle: Any) -> GpuSample:
        nvml = self._nvml
        rates = self._told(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = self._told(nvml.nvmlDeviceGetMemoryInfo, handle)
        degrees = self._told(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
        milliwatts = self._told(nvml.nvmlDeviceGetPowerUsage, handle)
        name = nvml.nvmlDeviceGetName(handle)
        return GpuSample(
            index=index,
            name=name.decode() if isinstance(name, bytes) else str(name),
            utilization=None if rates is None else float(rates.gpu),
            memory_used=None if memory is None else int(memory.used),
            memory_total=None if memory is None else int(memory.total),
            temperature=None if degrees is None else float(degrees),
            power=None if milliwatts is None else milliwatts / 1000,
        )

    def _told(self, ask: Callable[..., Any], *args: Any) -> Any:
        """Return the answer, or None where this GPU doesn't have it."""
        try:
            return ask(*args)
        except self._nvml.NVMLError as error:
            if error.value in (
                self._nvml.NVML_ERROR_NOT_SUPPORTED,
                self._nvml.NVML_ERROR_NO_PERMISSION,
            ):
                return None
            raise


class UsedMemory:
    """Reads what one GPU uses now, for whoever can't wait for the next sample.

    A read that hangs isn't waited for, and until it has ended there is no other one.
    """

    def __init__(
        self, read: Callable[[int], int | None] | None = None, *, timeout_s: float = 5.0
    ) -> None:
        """Take what reads one GPU by its index; by default NVML."""
        self._read = read or Nvml(os.environ.get("CUDA_VISIBLE_DEVICES")).used
        self._timeout_s = timeout_s
        self._reading = threading.Lock()

    async def __call__(self, device: int) -> int | None:
        """Return bytes; None where no driver tells, or not in time."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int | None] = loop.create_future()
        threading.Thread(
            target=self._answer, args=(device, loop, answer), name="used memory", daemon=True
        ).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                return await answer
        return None

    def _answer(
        self,
        device: int,
        loop: asyncio.AbstractEventLoop,
        answer: "asyncio.Future[int | None]",
    ) -> None:
        used: int | None = None
        if self._reading.acquire(timeout=self._timeout_s):
            # Whatever a driver raises means: it doesn't tell.
            with suppress(Exception):
                used = self._read(device)
            self._reading.release()
        # RuntimeError: the loop closed while the driver was asked.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_set, answer, used)


def _set(answer: "asyncio.Future[int | None]", used: int | None) -> None:
    if not answer.done():
        answer.set_result(used)


class MemoryWatch:
    """Warns when a GPU holds more than its limit: once when it starts, not at every sample."""

    def __init__(self, limits: Sequence[int]) -> None:
        """Take the limit of each GPU in bytes, by index; a GPU without one isn't watched."""
        self._limits = limits
        self._over: set[int] = set()

    def look(self, samples: Sequence[GpuSample]) -> None:
        """Compare one round of samples with the limits."""
        for sample in samples:
            if sample.index >= len(self._limits) or sample.memory_used is None:
                continue
            if sample.memory_used <= self._limits[sample.index]:
                self._over.discard(sample.index)
            elif sample.index not in self._over:
                self._over.add(sample.index)
                _log.warning(
                    "GPU memory usage high: %.1fGB",
                    sample.memory_used / GIB,
                    extra={
                        "fields": {
                            "device": sample.index,
                            "limit_gb": round(self._limits[sample.index] / GIB, 1),
                        }
                    },
                )


class GpuMonitor:
    """The service that samples the GPUs: run it for as long as the daemon lives."""

    def __init__(
        self,
        *,
        limits: Sequence[int] = (),
        on_sample: Callable[[Sequence[GpuSample]], None] | None = None,
        read: Callable[[], tuple[GpuSample, ...]] | None = None,
        interval_s: float = 5.0,
    ) -> None:
        """Prepare sampling; nothing is asked before `run`.

        Args:
            limits: bytes by GPU index above which a warning is logged.
            on_sample: called in the event loop with each round, `()` where there is none.
            read: what takes a round; by default NVML, for the GPUs that CUDA would use.
            interval_s: seconds between two rounds.
        """
        self._watch = MemoryWatch(limits)
        self._on_sample = on_sample
        read = read or Nvml(os.environ.get("CUDA_VISIBLE_DEVICES"))
        self._sampler = Sampler("GPU", read, interval_s=interval_s, on_sample=self._take)

    def sample(self) -> tuple[GpuSample, ...] | None:
        """Return the last round; None without a driver, and when it is too old to be true."""
        return self._sampler.sample()

    async def run(self) -> None:
        """Sample until cancelled."""
        await self._sampler.run()

    def _take(self, samples: tuple[GpuSample, ...] | None) -> None:
        self._watch.look(samples or ())
        if self._on_sample is not None:
            self._on_sample(samples or ())
