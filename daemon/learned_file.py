"""The file that keeps what was learned: written whole or not at all, and believed only if sound.

It is an input like any other: cut off, of another version, with numbers that can't be. Then it is
refused with a sentence, never in parts.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from stat import S_ISREG
from typing import Annotated, Literal, Self
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from daemon.scheduling.figures import Figures

NAME = "learned.json"

_MOST_FILE_BYTES = 8 * 2**20
_MOST_BYTES = 2**50
_MOST_SECONDS = 1e6
_MOST_VALUES = 64
_MOST_KINDS = 1024
"""Of runs: qualities, sizes and batches that a model was seen with."""

Name = Annotated[str, Field(max_length=100)]
Bytes = Annotated[int, Field(ge=0, le=_MOST_BYTES)]
Seconds = Annotated[float, Field(ge=0, le=_MOST_SECONDS)]
Durations = Annotated[tuple[Seconds, ...], Field(max_length=_MOST_VALUES)]


class LearnedFileError(Exception):
    """The file can't be used; the message says why."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Peaks(_Part):
    """What runs alike took, bytes."""

    quality: Name
    size: Annotated[int, Field(ge=0, le=_MOST_BYTES)]
    batch: Annotated[int, Field(ge=1, le=_MOST_BYTES)]
    bytes: Annotated[tuple[Bytes, ...], Field(min_length=1, max_length=_MOST_VALUES)]


class Learned(_Part):
    """What was learned of one model, since when, and where: see `origins`."""

    since: AwareDatetime
    origin: Mapping[Name, Annotated[str, Field(max_length=4096)]]
    weights: Annotated[tuple[Bytes, ...], Field(max_length=_MOST_VALUES)] = ()
    peaks: Annotated[tuple[Peaks, ...], Field(max_length=_MOST_KINDS)] = ()
    runs_s: Annotated[Mapping[Name, Durations], Field(max_length=_MOST_KINDS)] = {}
    moves_s: Annotated[Mapping[Name, Durations], Field(max_length=_MOST_KINDS)] = {}

    @classmethod
    def of(cls, figures: Figures, since: AwareDatetime, origin: Mapping[str, str]) -> Self:
        """Return figures as the file has them; what it would refuse is left out."""
        peaks = [
            Peaks(quality=quality, size=size, batch=batch, bytes=kept)
            for (quality, size, batch), seen in figures.peaks.items()
            if (kept := tuple(each for each in seen if each <= _MOST_BYTES))
        ]
        return cls(
            since=since,
            origin=dict(origin),
            weights=figures.weights,
            peaks=tuple(peaks[-_MOST_KINDS:]),
            runs_s=_credible(figures.runs_s),
            moves_s=_credible(figures.moves_s),
        )

    def figures(self) -> Figures:
        """Return them as the scheduler has them."""
        peaks = {(each.quality, each.size, each.batch): each.bytes for each in self.peaks}
        return Figures(self.weights, peaks, self.runs_s, self.moves_s)


class _File(_Part):
    version: Literal[1] = 1
    models: Annotated[Mapping[Name, Learned], Field(max_length=100)]


def read_learned(folder: Path) -> dict[str, Learned]:
    """Return what the folder's file knows of each model; nothing where there is none. Blocks.

    Raises:
        LearnedFileError: it can't be read, or isn't what this version writes.
    """
    try:
        content = _read(folder / NAME)
        return {} if content is None else dict(_File.model_validate_json(content).models)
    except OSError as error:
        raise LearnedFileError(error.strerror or str(error)) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise LearnedFileError(f"{where}: {first['msg']}" if where else first["msg"]) from error


def write_learned(folder: Path, learned: Mapping[str, Learned]) -> None:
    """Put the file in its place; a reader, or a start after a power cut, sees it whole. Blocks.

    Raises:
        OSError: the folder can't be written.
    """
    content = _File(models=learned).model_dump_json().encode()
    unfinished = folder / f".{NAME}.{uuid4().hex}"
    try:
        with os.fdopen(
            os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
        ) as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        unfinished.replace(folder / NAME)
        _sync(folder)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _read(path: Path) -> bytes | None:
    try:
        # Whoever opens a pipe waits for somebody at its other end.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as file:
        if not S_ISREG(os.fstat(handle).st_mode):
            raise LearnedFileError("it is no file")
        content = file.read(_MOST_FILE_BYTES + 1)
    if len(content) > _MOST_FILE_BYTES:
        raise LearnedFileError(f"it has more than {_MOST_FILE_BYTES} bytes")
    return content


def _sync(folder: Path) -> None:
    """Have the folder's new entry on the disk too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _credible(durations: Mapping[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    return {
        name: tuple(each for each in seconds if 0 <= each <= _MOST_SECONDS)
        for name, seconds in durations.items()
    }
