"""What this engine has done since it began, as the kernel counts it: processor, bytes, faults.

It is measured in the engine and told in plain numbers, so that whoever hears of it needs no process
of this host. It counts the engine's whole process group and whatever that has started, also in
groups of its own, as compilers are. Who has ended and was waited for counts with its parent; one
that nobody waits for is gone from the sums, which may fall.

What measuring itself takes is left out: on a host with thousands of processes that is more than an
idle engine uses.
"""

import contextlib
import os
import time
from pathlib import Path

from daemon.engines.figures import Activity
from handlers.processes import DEAD_STATES, PROC, STAT_GROUP, STAT_PARENT, STAT_STATE, stat_fields

_STAT_FAULTS = (9, 10)
_STAT_TICKS = (11, 12, 13, 14)
"""Of the process, and of its children that have ended. `stat_fields` counts from the state."""

_IO_COUNTED = frozenset((b"rchar", b"wchar", b"read_bytes", b"write_bytes"))
"""Mapped pages and io_uring show in the last two alone. Most bytes count twice: no harm, as all
that is asked is whether they become more."""


class ActivityMeter:
    """Measures one process group, by default its own; `measure` belongs to one thread."""

    def __init__(self, group: int | None = None, proc: Path = PROC) -> None:
        self._group = os.getpgrp() if group is None else group
        self._proc = proc
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._own_bytes = 0
        self._own_s = 0.0

    def measure(self) -> Activity | None:
        """Return the sums so far; None where one can't be read, or a process went meanwhile."""
        began_s = time.thread_time()
        try:
            return self._sums(self._processes(), began_s)
        except (OSError, ValueError, LookupError):
            return None
        finally:
            self._own_s += time.thread_time() - began_s

    def _sums(self, processes: dict[int, list[bytes]], began_s: float) -> Activity | None:
        if not processes:
            return None
        ticks = faults = io_bytes = 0
        for process, stat in processes.items():
            ticks += sum(int(stat[place]) for place in _STAT_TICKS)
            faults += sum(int(stat[place]) for place in _STAT_FAULTS)
            io_bytes += self._io_bytes(process)
        own_s = self._own_s + time.thread_time() - began_s
        return Activity(
            max(0.0, ticks / self._ticks_per_s - own_s), max(0, io_bytes - self._own_bytes), faults
        )

    def _io_bytes(self, process: int) -> int:
        lines = self._read(self._proc / str(process) / "io").splitlines()
        counted = dict(line.split(b":") for line in lines)
        return sum(int(counted[name]) for name in _IO_COUNTED)

    def _processes(self) -> dict[int, list[bytes]]:
        """Return `stat` of each living process of the group, and of those that come from one."""
        stats: dict[int, list[bytes]] = {}
        for entry in self._proc.iterdir():
            if entry.name.isdigit():
                # Others end at any time. One of ours shows in the sums: they fall.
                with contextlib.suppress(OSError):
                    stats[int(entry.name)] = stat_fields(self._read(entry / "stat"))
        ours: set[int] = set()
        found = {process for process, stat in stats.items() if int(stat[STAT_GROUP]) == self._group}
        while found - ours:
            ours |= found
            found = {process for process, stat in stats.items() if int(stat[STAT_PARENT]) in ours}
        return {
            process: stats[process]
            for process in ours
            if stats[process][STAT_STATE] not in DEAD_STATES
        }

    def _read(self, path: Path) -> bytes:
        text = path.read_bytes()
        self._own_bytes += len(text)
        return text
