"""Traces in files: JSON lines, one a job that arrived.

    {"arrived_s": 1772366400.0, "job_type": "chat", "user": 1, "priority": 0, "run_s": 4.5,
     "completed": true}

The same columns as the database exports. What a file holds is somebody's: each line is checked.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec

MOST_S = 1e11
"""Seconds that a trace may speak of: some three thousand years."""

_Seconds = Annotated[float, msgspec.Meta(ge=0, le=MOST_S)]


class TraceError(Exception):
    """A trace can't be read or written; the message says where and why."""


class Arrival(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One job that was asked for. Seconds; `arrived_s` counts from any moment, 1970 as a rule."""

    arrived_s: _Seconds
    job_type: str
    user: int | None = None
    """A number of the same user's jobs, and no more; None: rows without a user."""
    priority: int = 0
    run_s: _Seconds | None = None
    """What its run took on the device; None: nobody knows."""
    completed: bool = True


def read_trace(path: Path) -> list[Arrival]:
    """Read a file; empty lines are skipped.

    Raises:
        TraceError: it can't be opened, or a line is none of a trace.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise TraceError(f"the trace can't be read: {error}") from error
    return [_arrival(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def write_trace(path: Path, arrivals: Iterable[Arrival]) -> None:
    """Write a file, over one that is there.

    Raises:
        TraceError: it can't be written.
    """
    try:
        path.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in arrivals))
    except OSError as error:
        raise TraceError(f"the trace can't be written: {error}") from error


def _arrival(path: Path, number: int, line: bytes) -> Arrival:
    try:
        return msgspec.json.decode(line, type=Arrival)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}, line {number}: {error}") from error
