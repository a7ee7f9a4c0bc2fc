"""What the daemon takes of its host: its own memory, and the disk that it fills."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Where a container finds the limits of its own control group."""


@dataclass(frozen=True, slots=True)
class HostSample:
    """The host at one moment, in bytes; None where the system doesn't tell.

    Attributes:
        process_memory: resident memory of the daemon's process, without its engines.
        disk_used: bytes in use on the file system of the state folder, by anybody.
        disk_total: its size.
    """

    process_memory: int | None
    disk_used: int | None
    disk_total: int | None


class Host:
    """Reads the host. Blocks where the file system does, so it belongs in a sampler's thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.expanduser().absolute()

    def __call__(self) -> HostSample:
        """Return a sample."""
        used, total = self._disk()
        return HostSample(process_memory(), used, total)

    def _disk(self) -> tuple[int | None, int | None]:
        # The folder is made when it is first written to: until then its parents stand for it.
        for folder in (self._folder, *self._folder.parents):
            try:
                disk = shutil.disk_usage(folder)
            except FileNotFoundError:
                continue
            except OSError:
                break
            return disk.used, disk.total
        return None, None


def process_memory() -> int | None:
    """Return the resident memory of this process in bytes, None where /proc is absent."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def available_memory(proc: Path = Path("/proc"), group: Path = CGROUP) -> int | None:
    """Return the memory that can be had without swapping, None where /proc is absent.

    The host's, or what a container's limit leaves of it.
    """
    told = [each for each in (_of_host(proc), _of_group(group)) if each is not None]
    return min(told, default=None)


def _of_group(group: Path) -> int | None:
    """Return what a limit of the control group leaves (version 2); None: there is no limit."""
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        return None if limit == "max" else max(0, int(limit) - used)
    except (OSError, ValueError):
        return None


def _of_host(proc: Path) -> int | None:
    try:
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None
