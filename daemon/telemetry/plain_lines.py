"""Lines that every job has, noted and written past the machinery of logging.

A worker can drain five thousand short jobs a second. Two lines of each through structlog, the
standard library's logging, the redaction and the formatter took a third of that. These lines hold
fixed words, ids and numbers alone: there is nothing in them to hide. So what they say is noted, and
written in one go when the event loop has done what it is at, or before any other line. They look
as all others do, and go the way of all others wherever somebody else listens (a handler or a filter
was added).
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from contextvars import Context
from typing import Protocol, TextIO, cast

from daemon.telemetry.context import JobIds, job_fields
from daemon.telemetry.line_forms import PlainForm, PlainLine


class OfJob(Protocol):
    """A job that plain lines can be about (`job_run.JobRun`)."""

    def log_ids(self) -> JobIds | None:
        """Return its ids and words of our own; None: not all of them are."""
        ...

    def log_fields(self) -> Mapping[str, str]:
        """Return what any line says of it."""
        ...


class PlainLines:
    """Writes plain lines of one logger, at info. Not for several threads, but beside others.

    Args:
        logger: its name.
    """

    def __init__(self, logger: str) -> None:
        self._name = logger
        self._logger = logging.getLogger(logger)
        # Other threads write what is noted too: to append and to pop are each one step of a deque.
        self._noted: deque[PlainLine] = deque()

    def info(self, event: str, job: OfJob, attempt: int = 0, seconds: float = 0.0) -> None:
        """Write a line, if its level is heard, in this turn of the event loop.

        Without a loop it is written at once. What a stream raises is handled as for any line.

        Args:
            event: fixed words.
            job: what it is about.
            attempt: which one has ended, from 1 on; 0: none has, and the line has no `seconds`.
            seconds: how long it took, finite.
        """
        if not self._logger.isEnabledFor(logging.INFO):
            return
        if (ids := job.log_ids()) is None:
            fields = {**_numbers(attempt, seconds), **job.log_fields()}
            self._logger.info(event, extra={"fields": fields})
            return
        self._noted.append((time.time(), event, attempt, seconds, ids))
        if len(self._noted) == 1:
            _WAITING.append(self)
            try:
                # In no job's context: lines of several are written together.
                asyncio.get_running_loop().call_soon(_write_all, context=Context())
            except RuntimeError:
                _write_all()

    def write(self) -> None:
        """Write what was noted, unless another thread does."""
        lines: list[PlainLine] = []
        with suppress(IndexError):
            while True:
                lines.append(self._noted.popleft())
        if not lines:
            return
        if (handler := self._only_handler()) is not None:
            handler.write_plain(self._name, lines)
            return
        for line in lines:
            self._logger.handle(_as_record(self._name, line))

    def _only_handler(self) -> "LineHandler | None":
        """Return the one handler, if nobody else hears lines of this logger or changes them."""
        logger = self._logger
        while (parent := logger.parent) is not None:
            if logger.handlers or logger.filters or not logger.propagate:
                return None
            logger = parent
        if len(logger.handlers) != 1:
            return None
        handler = logger.handlers[0]
        if not isinstance(handler, LineHandler) or handler.filters:
            return None
        return handler if isinstance(handler.formatter, PlainForm) else None


_WAITING: deque[PlainLines] = deque()
"""Those that have noted something."""


def _write_all() -> None:
    for _ in range(len(_WAITING)):
        try:
            waiting = _WAITING.popleft()
        except IndexError:  # another thread was quicker
            return
        waiting.write()


class LineHandler(logging.StreamHandler[TextIO]):
    """The handler of all lines, at the root. Its formatter is a `PlainForm`."""

    def write_plain(self, logger: str, lines: list[PlainLine]) -> None:
        """Write plain lines of a logger."""
        form = cast("PlainForm", self.formatter)
        self.acquire()
        try:
            self.stream.write(form.plain(logger, lines))
            self.stream.flush()
        except Exception:  # noqa: BLE001 -- logging never raises: see `logging.Handler.handleError`
            self.handleError(_as_record(logger, lines[-1]))
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, after those that were noted before."""
        _write_all()
        super().emit(record)

    def flush(self) -> None:
        """Write what was noted, as at the end of the process, and have the stream pass it on."""
        _write_all()
        super().flush()


def _as_record(logger: str, line: PlainLine) -> logging.LogRecord:
    """Return a line as the standard library has it."""
    created, event, attempt, seconds, ids = line
    words = {"name": logger, "msg": event, "levelno": logging.INFO, "levelname": "INFO"}
    fields = {**_numbers(attempt, seconds), **job_fields(ids)}
    return logging.makeLogRecord({**words, "created": created, "fields": fields})


def _numbers(attempt: int, seconds: float) -> dict[str, float]:
    return {"attempt": attempt, "seconds": seconds} if attempt else {}
