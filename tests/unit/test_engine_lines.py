"""Lines of an engine say of which run they are, and the daemon of which job."""

import logging

import pytest

from daemon.engines.telling import LineFormatter, lines_of_run, run_of_line


def rendered(message: str) -> str:
    return LineFormatter().format(logging.LogRecord("lib", 40, "f", 1, message, None, None))


def test_each_line_that_a_run_writes_names_it() -> None:
    """Those of a traceback too, since the daemon reads line by line."""
    with lines_of_run("r-1"):
        lines = rendered("one\n  two").splitlines()

    assert lines == ["[run r-1] ERROR lib: one", "[run r-1]   two"]
    assert [run_of_line(line) for line in lines] == [
        ("r-1", "ERROR lib: one"), ("r-1", "  two"),
    ]  # fmt: skip
    assert rendered("three") == "ERROR lib: three"


@pytest.mark.parametrize("line", ["plain", "[run ] x", "[run a b] x", "x [run r-1] y"])
def test_other_lines_stay_as_they_are(line: str) -> None:
    """Nobody's, or somebody's who only looks like it."""
    assert run_of_line(line) == (None, line)
