"""How much memory this engine holds: measured, not guessed.

On a GPU it is what torch's allocator has reserved, which is more than it has handed out, and beside
it what only the driver sees: the context, its kernels, the libraries' own buffers (`driver`). On a
CPU it is the growth of the resident set since the process was empty. A peak is that of the whole
engine, weights included, over the time in which a run was in it: what other runs took at the same
time counts as well.
"""

import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path
from typing import Any

from handlers.driver import Driver

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_KIB = 1024


class Meter:
    """Measures one engine; made before anything is loaded.

    `begin` and `end` belong to one thread, the rest may be called from any.
    """

    def __init__(self, driver: Driver | None = None) -> None:
        self._driver = driver or Driver(os.environ.get("CUDA_VISIBLE_DEVICES"))
        self._empty = _resident("VmRSS")
        self._runs = 0

    def loaded(self) -> int:
        """Return the bytes that the weights took; call it once, when the load has ended."""
        held = self.settled()
        # The model's own objects live as long as the engine: later collections needn't look.
        gc.freeze()
        return held

    def held(self) -> int:
        """Return the bytes held now."""
        if (cuda := _cuda()) is not None:
            reserved = int(cuda.memory_reserved())
            return reserved + self._driver.beyond(reserved)
        return max(0, _resident("VmRSS") - self._empty)

    def left(self, host_bytes: int) -> int:
        """Return the bytes held on the device when weights of so many bytes are on the host."""
        held = self.settled()
        # Without a GPU host and device are the same memory: what is held includes the weights.
        return held if _cuda() is not None else max(0, held - host_bytes)

    def settled(self) -> int:
        """Return the bytes held once everything that is of no use was given back."""
        self.release()
        return self.held()

    def begin(self) -> None:
        """Note the beginning of a run; the first one of several starts a new peak."""
        self._runs += 1
        if self._runs > 1:
            return
        if (cuda := _cuda()) is not None:
            cuda.reset_peak_memory_stats()
        # A container may forbid it; the peak is then that of the process's life.
        with contextlib.suppress(OSError):
            _CLEAR.write_text(_RESET_PEAK)

    def peak(self) -> int | None:
        """Return the most bytes held since the first of the present runs began."""
        if (cuda := _cuda()) is not None:
            beyond = self._driver.beyond(int(cuda.memory_reserved()))
            return int(cuda.max_memory_reserved()) + beyond
        peak = _resident("VmHWM")
        return max(0, peak - self._empty) if peak else None

    def end(self) -> bool:
        """Note the end of a run; return whether no other one is in the engine."""
        self._runs -= 1
        return self._runs == 0

    def release(self) -> None:
        """Give back what nobody uses: cycles of objects, cached segments of the allocator."""
        gc.collect()
        if (cuda := _cuda()) is not None:
            cuda.empty_cache()
            return
        # glibc keeps freed memory for itself; others have no such call.
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)


def _cuda() -> Any:
    """Return `torch.cuda` where this process uses it."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None


def _resident(name: str) -> int:
    """Return a figure of the process's status in bytes; 0 where there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * _KIB
    return 0
