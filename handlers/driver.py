"""What this engine holds on its GPU beyond torch's allocator, as the driver counts it.

The device's free memory before and after would say it too, but with all that others take and give
meanwhile. The driver's list of processes says it for this engine alone, that is for this process
and those that it has started. In a container the list may name processes by their ids outside; so
they are recognised as those that are new since this process began, which holds since nothing loads
beside another load on the same device. Where the driver doesn't tell, a figure is assumed that most
contexts stay below.
"""

import os
from collections.abc import Collection, Mapping
from typing import Any

ASSUMED_BYTES = 600 * 2**20
"""A CUDA context with the kernels of torch; measured ones lie between 250 and 600 MiB."""


class Driver:
    """Asks NVML about the one GPU that this engine may use.

    Args:
        visible: as CUDA_VISIBLE_DEVICES names it; an index counts as NVML counts.
        nvml: the library; by default it is imported.
    """

    def __init__(self, visible: str | None, nvml: Any = None) -> None:
        self._nvml = nvml
        self._handle: Any = None
        self._group: Collection[int] = [os.getpid()]
        self._ours: frozenset[int] = frozenset()
        self._before = frozenset(self._processes(visible or ""))

    def fix(self, group: Collection[int]) -> None:
        """Take the engine's processes, now that it has loaded."""
        self._group = group
        self._ours = frozenset(self._processes().keys() - self._before) & set(group) or self._ours

    def beyond(self, reserved_bytes: int) -> int:
        """Return the bytes that the engine holds beside what torch's allocator has reserved."""
        held = self.held()
        return ASSUMED_BYTES if held is None else max(0, held - reserved_bytes)

    def held(self) -> int | None:
        """Return what the driver counts for this engine; None: it doesn't tell."""
        now = self._processes()
        if not self._ours:
            self._ours = self._found(now.keys() - self._before)
        figures = [now[process] for process in self._ours if process in now]
        told = [figure for figure in figures if figure is not None]
        return sum(told) if told and len(told) == len(figures) else None

    def _found(self, new: Collection[int]) -> frozenset[int]:
        """Return the engine's own among processes that are new on the GPU, once they are known."""
        ours = frozenset(new) & frozenset(self._group)
        if ours:
            return ours
        return frozenset(new) if len(new) <= len(self._group) else frozenset()

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
