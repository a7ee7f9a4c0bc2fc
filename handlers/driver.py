"""What this process holds on its GPU beyond torch's allocator, as the driver counts it.

The device's free memory before and after would say it too, but with all that others take and give
meanwhile. The driver's list of processes says it for this one alone. In a container the list may
name the process by its id outside; so it is recognised as the one that is new since this process
began, which holds since nothing loads beside another load on the same device. Where the driver
doesn't tell, a figure is assumed that most contexts stay below.
"""

import os
from collections.abc import Mapping
from typing import Any

ASSUMED_BYTES = 600 * 2**20
"""A CUDA context with the kernels of torch; measured ones lie between 250 and 600 MiB."""


class Driver:
    """Asks NVML about the one GPU that this process may use.

    Args:
        visible: as CUDA_VISIBLE_DEVICES names it; an index counts as NVML counts.
        nvml: the library; by default it is imported.
    """

    def __init__(self, visible: str | None, nvml: Any = None) -> None:
        self._nvml = nvml
        self._handle: Any = None
        self._process: int | None = None
        self._before = frozenset(self._processes(visible or ""))

    def beyond(self, reserved_bytes: int) -> int:
        """Return the bytes that the process holds beside what its allocator has reserved."""
        held = self._held()
        return ASSUMED_BYTES if held is None else max(0, held - reserved_bytes)

    def _held(self) -> int | None:
        """Return what the driver counts for this process; None: it doesn't tell."""
        now = self._processes()
        if self._process is None:
            new = now.keys() - self._before
            if os.getpid() in new:
                self._process = os.getpid()
            elif len(new) == 1:
                (self._process,) = new
        return None if self._process is None else now.get(self._process)

    def _processes(self, visible: str = "") -> Mapping[int, int | None]:
        """Return the bytes of each process on the GPU; nothing where there is no driver."""
        try:
            if self._handle is None:
                self._handle = self._opened(visible)
            if self._handle is None:
                return {}
            listed = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        except Exception:  # noqa: BLE001 -- whatever a driver raises means: it doesn't tell
            return {}
        return {process.pid: process.usedGpuMemory for process in listed}

    def _opened(self, visible: str) -> Any:
        if not visible:
            return None
        if self._nvml is None:
            import pynvml

            self._nvml = pynvml
        self._nvml.nvmlInit()
        if visible.isdigit():
            return self._nvml.nvmlDeviceGetHandleByIndex(int(visible))
        return self._nvml.nvmlDeviceGetHandleByUUID(visible)
