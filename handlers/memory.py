"""How much memory this engine holds: measured, not guessed.

On a GPU it is what torch's allocator has handed out; on a CPU the growth of the resident set since
the process was empty. A peak is that of the whole engine, weights included, over the time in which
a run was in it: what other runs took at the same time counts as well.
"""

import contextlib
import sys
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_KIB = 1024


class Meter:
    """Measures one engine. Not for several threads."""

    def __init__(self) -> None:
        self._empty = _resident("VmRSS")
        self._runs = 0

    def loaded(self) -> int:
        """Return the bytes that the weights took; call it when the load has ended."""
        return self.held()

    def held(self) -> int:
        """Return the bytes held now."""
        if (cuda := _cuda()) is not None:
            return int(cuda.memory_allocated())
        return max(0, _resident("VmRSS") - self._empty)

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
            return int(cuda.max_memory_allocated())
        peak = _resident("VmHWM")
        return max(0, peak - self._empty) if peak else None

    def end(self) -> None:
        """Note the end of a run, and give cached memory back after the last one."""
        self._runs -= 1
        if self._runs == 0 and (cuda := _cuda()) is not None:
            cuda.empty_cache()


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
