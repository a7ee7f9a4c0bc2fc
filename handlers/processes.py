"""The living processes of a process group, and what the kernel says of each."""

import contextlib
import os
from pathlib import Path

_PROC = Path("/proc")
_DEAD_STATES = frozenset("ZX")
_RESET_PEAK = "5"
_KIB = 1024


def members(group: int) -> list[int]:
    """Return the living processes of a group.

    Dead ones that nobody has reaped yet (orphans in a container without an init) don't count:
    they hold no memory.
    """
    if not _PROC.is_dir():
        return _exists(group)
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                # The name in parentheses may hold anything; state and group follow it.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == group and fields[0] not in _DEAD_STATES:
                    found.append(int(entry.name))
    return found


def _exists(group: int) -> list[int]:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return []
    except PermissionError:
        pass
    return [group]


def resident(process: int, name: str = "VmRSS") -> int:
    """Return a figure of a process's status in bytes; 0 where there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (_PROC / str(process) / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * _KIB
    return 0


def reset_peak(process: int) -> None:
    """Have a process's peak, `VmHWM`, begin anew; a container may forbid it."""
    with contextlib.suppress(OSError):
        (_PROC / str(process) / "clear_refs").write_text(_RESET_PEAK)
