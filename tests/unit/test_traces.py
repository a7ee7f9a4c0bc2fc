"""Traces in files: what was written is read, and a bad line is named."""

from pathlib import Path

import pytest

from daemon.traces import Arrival, TraceError, read_trace, write_trace


def test_a_line_needs_no_more_than_when_and_what(tmp_path: Path) -> None:
    """So that a trace can be written by hand; empty lines are no jobs."""
    path = tmp_path / "trace.jsonl"
    path.write_text('{"arrived_s": 1, "job_type": "chat"}\n\n{"job_type": "chat", "arrived_s": 2}')

    assert read_trace(path) == [Arrival(1.0, "chat"), Arrival(2.0, "chat")]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("oops", "malformed"),
        ("[]", "Expected `object`"),
        ("{}", "missing required field `arrived_s`"),
        ('{"arrived_s": -1, "job_type": "chat"}', ">= 0"),
        ('{"arrived_s": NaN, "job_type": "chat"}', "malformed"),
        ('{"arrived_s": 1e999, "job_type": "chat"}', "out of range"),
        ('{"arrived_s": 1, "job_type": 7}', "Expected `str`"),
        ('{"arrived_s": 1, "job_type": "chat", "seconds": 3}', "unknown field `seconds`"),
        ('{"arrived_s": 1, "job_type": "\udcff"}', "codec|UTF-8|utf-8"),
        ("[" * 5000, "recursion|Expected"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, sentence: str) -> None:
    """With its number, so that it can be found among a hundred thousand."""
    path = tmp_path / "trace.jsonl"
    good = b'{"arrived_s": 1, "job_type": "chat"}\n'
    path.write_bytes(good + line.encode(errors="surrogateescape"))

    with pytest.raises(TraceError, match=f"trace.jsonl, line 2: .*({sentence})"):
        read_trace(path)


def test_files_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    """To read and to write alike."""
    with pytest.raises(TraceError, match=r"can't be read: .*none\.jsonl"):
        read_trace(tmp_path / "none.jsonl")
    with pytest.raises(TraceError, match=r"can't be written: .*away"):
        write_trace(tmp_path / "away" / "trace.jsonl", [])
