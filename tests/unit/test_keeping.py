"""What was learned outlives its scheduler: in memory, in the file, and never at a worker's cost."""

import asyncio
import errno
import json
from pathlib import Path
from typing import Any

import pytest
from eventually import eventually
from learners import kept, names, scheduler, sees_a_run, settings, successor

from daemon import keeping, learned_file
from daemon.keeping import Keeper
from daemon.learned_file import NAME, read_learned
from daemon.scheduling.figures import Learner

Patch = pytest.MonkeyPatch


async def test_a_restart_begins_with_what_was_learned(tmp_path: Path) -> None:
    """Through the file; and it says since when."""
    before = await kept(tmp_path)
    after, keeper = await successor(tmp_path)

    assert Learner(after.state).figures() == Learner(before.state).figures()
    [(model, since)] = keeper.since().items()
    assert (model, since) == (
        "sdxl",
        read_learned(tmp_path)["sdxl"].since.isoformat("T", "seconds"),
    )
    assert names(tmp_path) == [NAME]
    assert (tmp_path / NAME).stat().st_mode & 0o077 == 0


async def test_a_rebuild_begins_with_what_was_learned(tmp_path: Path) -> None:
    """Without the file: the disk may be full or gone."""
    keeper, old, new = Keeper(tmp_path / "nowhere"), scheduler(), scheduler()
    async with keeper.learning(Learner(old.state), settings()):
        sees_a_run(old)
    async with keeper.learning(Learner(new.state), settings()):
        assert Learner(new.state).figures() == Learner(old.state).figures()


async def test_nothing_is_written_that_is_written_already(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    """Each learned figure costs the disk one write, however often it is looked for."""
    real, writes, looks = keeping.write_learned, [], []

    def write(folder: Path, learned: Any) -> None:
        writes.append(learned)
        real(folder, learned)

    monkeypatch.setattr(keeping, "write_learned", write)
    one, keeper = scheduler(), Keeper(tmp_path, every_s=0.001)
    learner = Learner(one.state)
    figures = learner.figures
    monkeypatch.setattr(learner, "figures", lambda: [looks.append(1), figures()][1])
    async with keeper.learning(learner, settings()):
        sees_a_run(one)
        await eventually(lambda: len(looks) > 10)

    assert len(writes) == 1


async def test_since_is_of_the_first_figure(tmp_path: Path) -> None:
    """Learning more doesn't make it younger; nothing is written where nothing was learned."""
    await kept(tmp_path)
    first = read_learned(tmp_path)["sdxl"]
    written = (tmp_path / NAME).stat().st_mtime_ns
    await successor(tmp_path)
    assert (tmp_path / NAME).stat().st_mtime_ns == written
    await kept(tmp_path)
    second = read_learned(tmp_path)["sdxl"]

    assert second.since == first.since
    assert len(second.peaks[0].bytes) == 2


async def test_figures_of_another_origin_begin_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of one model; the others are taken up. They are kept until there are new ones."""
    caplog.set_level("INFO")
    await kept(tmp_path)
    await kept(tmp_path, "wan")
    one, keeper = await successor(tmp_path, sdxl={"path": "other/weights"})

    assert set(Learner(one.state).figures()) == {"wan"} == set(keeper.since())
    [line] = [each for each in caplog.messages if "anew" in each]
    assert line.startswith("learned figures of sdxl begin anew: path was ")
    assert line.endswith(", is other/weights")
    again, _ = await successor(tmp_path)
    assert set(Learner(again.state).figures()) == {"sdxl", "wan"}


async def test_workers_of_one_folder_keep_their_own_models(tmp_path: Path) -> None:
    """Two of one host, each for another family, at the same time."""
    sdxl, chat = scheduler(), scheduler()
    one, other = Keeper(tmp_path), Keeper(tmp_path)
    async with (
        one.learning(Learner(sdxl.state), settings()),
        other.learning(Learner(chat.state), settings()),
    ):
        sees_a_run(sdxl, "sdxl")
        sees_a_run(chat, "chat")

    assert set(read_learned(tmp_path)) == {"sdxl", "chat"}


async def test_it_is_written_while_the_worker_lives(tmp_path: Path) -> None:
    """A power cut costs little."""
    one, keeper = scheduler(), Keeper(tmp_path, every_s=0.01)
    async with keeper.learning(Learner(one.state), settings()):
        sees_a_run(one)
        await eventually(lambda: set(read_learned(tmp_path)) == {"sdxl"})


async def test_what_cannot_be_written_is_told_once(
    tmp_path: Path, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk: every try fails, the worker goes on, and nothing unfinished is left."""
    tries = []

    def full(handle: int) -> None:
        tries.append(handle)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(learned_file.os, "fsync", full)
    one, keeper = scheduler(), Keeper(tmp_path, every_s=0.01)
    async with keeper.learning(Learner(one.state), settings()):
        sees_a_run(one)
        await eventually(lambda: len(tries) > 3)

    assert len(caplog.messages) == 1
    assert caplog.messages[0] == (
        f"what is learned can't be kept in {tmp_path}, and is lost at a restart: "
        "No space left on device"
    )
    assert names(tmp_path) == []


async def test_what_could_not_be_written_is_written_later(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    """Although nothing more was learned since: the disk has room again."""
    real, full = keeping.write_learned, asyncio.Event()

    def write(folder: Path, learned: Any) -> None:
        if not full.is_set():
            full.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        real(folder, learned)

    monkeypatch.setattr(keeping, "write_learned", write)
    one, keeper = scheduler(), Keeper(tmp_path, every_s=0.01)
    async with keeper.learning(Learner(one.state), settings()):
        sees_a_run(one)
        await eventually((tmp_path / NAME).exists)


async def test_a_write_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    """Whole, with what was known before."""
    await kept(tmp_path)
    before = (tmp_path / NAME).read_bytes()

    def refuse(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(learned_file.os, "fsync", refuse)
    await kept(tmp_path)

    assert (tmp_path / NAME).read_bytes() == before
    assert json.loads(before)["version"] == 1
    assert names(tmp_path) == [NAME]
