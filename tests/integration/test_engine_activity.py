"""What a process group has done so far, as its own leader measures it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import measured_group
import msgspec
import pytest
from eventually import eventually

from daemon.engines.activity import ActivityMeter
from daemon.engines.figures import Activity

MIB = 2**20
WHILE_WATCHED = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: "
"""Nobody else ends those that have gone into a group of their own."""

COMPUTES = WHILE_WATCHED + "pass"
READS = WHILE_WATCHED + "open('/dev/zero', 'rb', 0).read(2**20)"
SLEEPS = "import sys; open({!r}, 'w').close(); sys.stdin.read()"
APART = (
    "import subprocess, sys; subprocess.run([sys.executable, '-c', {!r}], start_new_session=True)"
)

Measure = Callable[[], Activity]


@contextmanager
def group_with(code: str) -> Iterator[Measure]:
    """Run code in a child of a group's leader; return what has the leader measure."""
    child = [sys.executable, "-c", code]
    command = [sys.executable, measured_group.__file__, json.dumps(child)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as leader:
        asked, answers = leader.stdin, leader.stdout
        assert asked is not None
        assert answers is not None

        def measure() -> Activity:
            asked.write(b"\n")
            asked.flush()
            return msgspec.json.decode(answers.readline(), type=Activity)

        yield measure
        asked.close()


@pytest.mark.parametrize("code", [COMPUTES, APART.format(COMPUTES)], ids=["child", "own group"])
async def test_a_child_that_computes_shows_in_the_seconds(code: str) -> None:
    """Also one that has made a group of its own, as those do that compile kernels."""
    with group_with(code) as measure:
        before = measure()

        await eventually(lambda: measure().processor_s > before.processor_s + 0.5)


@pytest.mark.parametrize("code", [READS, APART.format(READS)], ids=["child", "own group"])
async def test_a_child_that_reads_shows_in_the_bytes(code: str) -> None:
    """Its reads don't have to come from a disk."""
    with group_with(code) as measure:
        before = measure()

        await eventually(lambda: measure().io_bytes > before.io_bytes + 100 * MIB)


async def test_a_group_that_waits_does_nothing_however_often_it_is_measured(
    tmp_path: Path,
) -> None:
    """What measuring takes, more with each process of the host, isn't the engine's doing."""
    up = tmp_path / "up"
    with group_with(SLEEPS.format(str(up))) as measure:
        await eventually(up.exists)
        before = measure()
        for _ in range(300):
            after = measure()

    # Reading the questions and writing the answers takes some of it.
    assert after.processor_s - before.processor_s < 0.2
    assert abs(after.io_bytes - before.io_bytes) < MIB / 8


@pytest.fixture
def host(tmp_path: Path) -> Callable[..., None]:
    """Write processes as /proc shows them."""

    def process(number: int, parent: int, group: int, state: str = "S", scale: int = 0) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        # From minflt on: minflt cminflt majflt cmajflt utime stime cutime cstime.
        counted = " ".join(str(scale * each) for each in (5, 5, 1, 2, 100, 200, 300, 400))
        name = f"{number} (a) name) {state} {parent} {group} {group} 0 -1 4194304"
        (folder / "stat").write_text(f"{name} {counted} 20 0 1 0 100 0 0\n")
        io = {"rchar": 1000, "wchar": 2000, "syscr": 7, "syscw": 7, "read_bytes": 3000}
        io |= {"write_bytes": 4000, "cancelled_write_bytes": 7}
        lines = (f"{name}: {scale * each * MIB}\n" for name, each in io.items())
        (folder / "io").write_text("".join(lines))

    return process


Host = Callable[..., None]


def test_all_that_come_from_the_group_are_counted(host: Host, tmp_path: Path) -> None:
    """And their children that have ended, faults of disks alone; nobody else."""
    host(1, 0, 1, scale=9)
    host(50, 1, 50, scale=1)
    host(51, 50, 50, scale=1)
    host(52, 51, 52, scale=1)
    host(53, 52, 53, scale=1)
    host(60, 1, 60, scale=9)
    host(61, 50, 50, state="Z", scale=9)
    (tmp_path / "self").mkdir()

    done = ActivityMeter(50, tmp_path).measure()

    assert done is not None
    assert done.processor_s == pytest.approx(4 * 10, abs=1)
    assert done.io_bytes == pytest.approx(4 * 10_000 * MIB, abs=MIB)
    assert done.faults == 4 * 3


@pytest.mark.parametrize("text", [None, "", "rchar: 1\n", "rchar: x\n"])
def test_a_host_that_does_not_count_gives_no_figures(
    text: str | None, host: Host, tmp_path: Path
) -> None:
    """A kernel without them, or a process that is gone when it is read."""
    host(50, 1, 50, scale=1)
    host(51, 50, 50, scale=1)
    (tmp_path / "51" / "io").unlink()
    if text is not None:
        (tmp_path / "51" / "io").write_text(text)

    assert ActivityMeter(50, tmp_path).measure() is None


def test_a_strange_process_that_ends_meanwhile_is_none_of_ours(host: Host, tmp_path: Path) -> None:
    """Others come and go all the time."""
    host(50, 1, 50, scale=1)
    (tmp_path / "60").mkdir()

    assert ActivityMeter(50, tmp_path).measure() is not None


def test_a_host_without_proc_gives_no_figures(tmp_path: Path) -> None:
    """As where nothing of the group can be seen."""
    assert ActivityMeter(50, tmp_path / "none").measure() is None
    assert ActivityMeter(50, tmp_path).measure() is None
