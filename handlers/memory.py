"""How much memory this engine holds, with the processes that it has started: measured, not guessed.

On a GPU it is what torch's allocator has reserved, which is more than it has handed out, and beside
it what only the driver sees: the context, its kernels, the libraries' own buffers (`driver`). Where
other processes compute, as vLLM's do, it is what the driver counts for those; if it doesn't tell,
all that the model was granted. On a CPU it is the growth of the resident sets since the engine was
empty; pages that its processes share count for each.

A peak is that of the whole engine, weights included, over the time in which a run was in it: what
other runs took at the same time counts as well.
"""

import contextlib
import ctypes
import gc
import os
import sys
from typing import Any

from handlers.driver import Driver
from handlers.processes import members, reset_peak, resident


class Meter:
    """Measures one engine; made before anything is loaded.

    `begin` and `end` belong to one thread, the rest may be called from any.
    """

    def __init__(self, driver: Driver | None = None) -> None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        self._driver = driver or Driver(visible)
        self._has_gpu = bool(visible)
        # Whoever watches over this process is there already.
        self._processes = members(os.getpgrp())
        self._empty = self._resident("VmRSS")
        self._started: list[int] = []
        self._granted = 0
        self._runs = 0

    def loaded(self, granted_bytes: int = 0) -> int:
        """Return the bytes that the weights took; call it once, when the load has ended.

        `granted_bytes` are the most that the model may hold of the device; 0: nobody said.
        """
        self._granted = granted_bytes
        # Looked up once: what is started later is no part of the model.
        before, self._processes = set(self._processes), members(os.getpgrp())
        self._started = [process for process in self._processes if process not in before]
        self._driver.fix([os.getpid(), *self._started])
        held = self.settled()
        # The model's own objects live as long as the engine: later collections needn't look.
        gc.freeze()
        return held

    def held(self) -> int:
        """Return the bytes held now."""
        if (cuda := _cuda()) is not None:
            reserved = int(cuda.memory_reserved())
            return reserved + self._driver.beyond(reserved)
        apart = self._held_apart()
        return max(0, self._resident("VmRSS") - self._empty) if apart is None else apart

    def left(self, host_bytes: int) -> int:
        """Return the bytes held on the device when weights of so many bytes are on the host."""
        held = self.settled()
        # Without a GPU host and device are the same memory: what is held includes the weights.
        on_gpu = _cuda() is not None or self._held_apart() is not None
        return held if on_gpu else max(0, held - host_bytes)

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
        # Where that is forbidden the peak is that of the process's life.
        for process in self._processes:
            reset_peak(process)

    def peak(self) -> int | None:
        """Return the most bytes held since the first of the present runs began."""
        if (cuda := _cuda()) is not None:
            beyond = self._driver.beyond(int(cuda.memory_reserved()))
            return int(cuda.max_memory_reserved()) + beyond
        # The driver knows no peaks, and whoever computes apart takes all at the load.
        if (apart := self._held_apart()) is not None:
            return apart
        peak = self._resident("VmHWM")
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

    def _held_apart(self) -> int | None:
        """Return what other processes of the engine hold on its GPU; None: they hold nothing."""
        held = self._driver.held()
        if held is None and self._has_gpu and self._granted and self._started:
            return self._granted
        return held

    def _resident(self, name: str) -> int:
        return sum(resident(process, name) for process in self._processes)


def _cuda() -> Any:
    """Return `torch.cuda` where this process uses it."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None
