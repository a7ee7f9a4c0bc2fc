"""A file of learned figures that can't be used costs what was learned, and nothing else."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from learners import kept, successor

from daemon.learned_file import NAME, LearnedFileError, read_learned
from daemon.scheduling.figures import Learner
from daemon.scheduling.models import GIB


def cut_off(text: str) -> str:
    return text[: len(text) // 2]


def of_another_version(text: str) -> str:
    return text.replace('"version":1', '"version":2')


def with_a_negative_peak(text: str) -> str:
    return text.replace(str(5 * GIB), str(-GIB))


def with_a_text_for_a_peak(text: str) -> str:
    return text.replace(str(5 * GIB), f'"{5 * GIB}"')


def with_an_absurd_peak(text: str) -> str:
    return text.replace(str(5 * GIB), str(2**70))


def with_endless_seconds(text: str) -> str:
    return text.replace('"runs_s":{}', '"runs_s":{"fast":[1e400]}')


def with_seconds_that_are_no_number(text: str) -> str:
    return text.replace('"runs_s":{}', '"runs_s":{"fast":[NaN]}')


def with_too_many_seconds(text: str) -> str:
    return text.replace('"runs_s":{}', f'"runs_s":{{"fast":{[1.0] * 65}}}')


def with_fields_of_others(text: str) -> str:
    return text.replace('"runs_s":', '"ruin_s":')


def nested_without_end(text: str) -> str:
    return "[" * 100_000


def empty(text: str) -> str:
    return ""


@pytest.mark.parametrize(
    "spoil",
    [
        cut_off,
        of_another_version,
        with_a_negative_peak,
        with_a_text_for_a_peak,
        with_an_absurd_peak,
        with_endless_seconds,
        with_seconds_that_are_no_number,
        with_too_many_seconds,
        with_fields_of_others,
        nested_without_end,
        empty,
    ],
    ids=lambda spoil: spoil.__name__,
)
async def test_a_file_that_is_wrong_is_ignored_with_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[str], str]
) -> None:
    """Whatever is wrong with it: the worker learns anew, and then the file is right again."""
    await kept(tmp_path)
    file = tmp_path / NAME
    spoiled = spoil(file.read_text())
    assert spoiled != file.read_text()
    file.write_text(spoiled)

    one, _ = await successor(tmp_path)
    assert Learner(one.state).figures() == {}
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(
        f"what was learned before is ignored, and begins anew: {file}: "
    )
    await kept(tmp_path)
    assert set(read_learned(tmp_path)) == {"sdxl"}


async def test_a_folder_in_its_place_is_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As anything else that can't be read."""
    (tmp_path / NAME).mkdir()
    one, _ = await successor(tmp_path)

    assert Learner(one.state).figures() == {}
    assert "begins anew" in caplog.messages[0]


@pytest.mark.parametrize("written", [False, True])
async def test_a_pipe_in_its_place_holds_nobody_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, written: bool
) -> None:
    """Whether or not somebody has its other end."""
    os.mkfifo(tmp_path / NAME)
    other_end = os.open(tmp_path / NAME, os.O_RDWR | os.O_NONBLOCK) if written else None
    try:
        one, _ = await successor(tmp_path)
    finally:
        if other_end is not None:
            os.close(other_end)

    assert Learner(one.state).figures() == {}
    assert caplog.messages[0].endswith("it is no file")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """Somebody else's, or one that never ends."""
    with (tmp_path / NAME).open("wb") as file:
        file.truncate(2**40)

    with pytest.raises(LearnedFileError, match="more than"):
        read_learned(tmp_path)
