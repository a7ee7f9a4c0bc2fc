"""What the engine writes: of a failure everything, without secrets; and of which run it is.

The daemon reads these lines. Each one that a run's thread writes begins with `[run <id>] `, by
which it finds the job.
"""

import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from daemon.telemetry.redaction import redact
from handlers.base import RunError

_log = logging.getLogger("engine")

_RUN: ContextVar[str] = ContextVar("run", default="")
_OF_RUN = re.compile(r"\[run ([0-9A-Za-z-]{1,64})\] ?(.*)", re.DOTALL)


class LineFormatter(logging.Formatter):
    """`LEVEL logger: message`, each line behind the run whose thread writes it."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        text = super().format(record)
        if not (run := _RUN.get()):
            return text
        return "\n".join(f"[run {run}] {line}" for line in text.splitlines())


@contextmanager
def lines_of_run(run_id: str) -> Iterator[None]:
    """Have the lines that this thread logs in the block name the run."""
    token = _RUN.set(run_id)
    try:
        yield
    finally:
        _RUN.reset(token)


def run_of_line(line: str) -> tuple[str | None, str]:
    """Return which run an engine's line is of, if it says so, and the line without that."""
    match = _OF_RUN.fullmatch(line)
    return (None, line) if match is None else (match[1], match[2])


def log_failure(what: str, error: BaseException) -> None:
    """Write a failure, with the way to it where its own words aren't enough."""
    if isinstance(error, RunError):
        # Its sentence was written for this case: the way to it says nothing more.
        _log.warning("%s: %s", what, redact(error.message))
        return
    lines = "".join(traceback.format_exception(error))
    _log.error("%s\n%s", what, redact(lines))
