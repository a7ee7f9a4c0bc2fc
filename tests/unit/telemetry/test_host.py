"""How much memory there is: the host's, or what a container's limit leaves."""

from pathlib import Path

import pytest

from daemon.telemetry.host import available_memory

MEMINFO = "MemTotal: 65536 kB\nMemAvailable:   32768 kB\n"
MIB = 2**20


@pytest.mark.parametrize(
    ("limit", "used", "available"),
    [
        (None, None, 32 * MIB),
        ("max", "1000", 32 * MIB),
        (str(24 * MIB), str(4 * MIB), 20 * MIB),
        (str(4 * MIB), str(5 * MIB), 0),
        (str(640 * MIB), str(MIB), 32 * MIB),
        ("nonsense", "1", 32 * MIB),
    ],
)
def test_the_smaller_counts(
    tmp_path: Path, limit: str | None, used: str | None, available: int
) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    if limit is not None and used is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{used}\n")
    assert available_memory(tmp_path, tmp_path) == available


def test_nothing_is_known_without_either(tmp_path: Path) -> None:
    assert available_memory(tmp_path, tmp_path) is None
