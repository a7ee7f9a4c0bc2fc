"""The living processes of a process group, and what the kernel says of each."""

import contextlib
import os
from pathlib import Path

PROC = Path("/proc")
DEAD_STATES = frozenset((b"Z", b"X"))
STAT_STATE, STAT_PARENT, STAT_GROUP = 0, 1, 2
"""Places among `stat_fields`."""

_RESET_PEAK = "5"
_KIB = 1024


def members(group: int) -> list[int]:
    """Return the living processes of a group.

    Dead ones that nobody has reaped yet (orphans in a container without an init) don't count:
    they hold no memory.
    """
    if not PROC.is_dir():
        return _exists(group)
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = stat_fields((entry / "stat").read_bytes())
                if int(fields[STAT_GROUP]) == group and fields[STAT_STATE] not in DEAD_STATES:
                    found.append(int(entry.name))
    return found


def stat_fields(stat: bytes) -> list[bytes]:
    """Return what follows the name in a process's `stat`: that may hold anything, `)` too."""
    return stat.rpartition(b")")[2].split()


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
        for line in (PROC / str(process) / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * _KIB
    return 0


def reset_peak(process: int) -> None:
    """Have a process's peak, `VmHWM`, begin anew; a container may forbid it."""
    with contextlib.suppress(OSError):
        (PROC / str(process) / "clear_refs").write_text(_RESET_PEAK)
