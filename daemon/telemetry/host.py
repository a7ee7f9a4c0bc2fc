"""What the daemon takes of its host: its own memory, and the disk that it fills."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


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


def available_memory() -> int | None:
    """Return the host's memory that can be had without swapping, None where /proc is absent."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None
