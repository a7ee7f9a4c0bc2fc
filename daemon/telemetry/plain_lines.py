"""Lines that every job has, gathered and written past the machinery of logging.

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
from contextvars import Context
from typing import Protocol, TextIO, cast

from daemon.telemetry.context import JobIds
from daemon.telemetry.line_forms import PlainForm


class OfJob(Protocol):
    """A job that plain lines can be about (`job_run.JobRun`)."""

    def log_ids(self) -> JobIds | None:
        """Return its ids and words of our own; None: not all of them are."""
        ...

    def log_fields(self) -> Mapping[str, str]:
        """Return what any line says of it."""
        ...


_Noted = tuple[float, str, str, Mapping[str, float], JobIds]
"""When, by which logger, the event, its own fields, and the job's: as `PlainForm` takes them."""


class LineHandler(logging.StreamHandler[TextIO]):
    """The handler of all lines, at the root. Its formatter is a `PlainForm`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        # Other threads write what is noted too: to append and to pop are each one step of a deque.
        self._noted: deque[_Noted] = deque()

    def note(self, line: _Noted) -> None:
        """Write a line soon: before any other, and in this turn of the event loop.

        Without one it is written at once. What a stream raises is handled as for any line.
        """
        self._noted.append(line)
        if len(self._noted) == 1:
            try:
                # In no job's context: lines of several are written together.
                asyncio.get_running_loop().call_soon(self._write_noted, context=Context())
            except RuntimeError:
                self._write_noted()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, after those that were noted before."""
        self._write_noted()
        super().emit(record)

    def flush(self) -> None:
        """Write what was noted, as at the end of the process, and have the stream pass it on."""
        self._write_noted()
        super().flush()

    def _write_noted(self) -> None:
        self.acquire()
        try:
            if self._noted:
                self._write([self._noted.popleft() for _ in range(len(self._noted))])
        finally:
            self.release()

    def _write(self, lines: list[_Noted]) -> None:
        form = cast("PlainForm", self.formatter)
        try:
            texts = [form.plain(*line) for line in lines]
            self.stream.write("\n".join([*texts, ""]))
            self.stream.flush()
        except Exception:  # noqa: BLE001 -- logging never raises: see `logging.Handler.handleError`
            self.handleError(_as_record(lines[-1]))


class PlainLines:
    """Writes plain lines of one logger, at info.

    Args:
        logger: its name.
    """

    def __init__(self, logger: str) -> None:
        self._name = logger
        self._logger = logging.getLogger(logger)

    def info(self, event: str, job: OfJob, **numbers: float) -> None:
        """Write a line, if its level is heard.

        Args:
            event: fixed words.
            job: what it is about.
            numbers: the line's own fields, finite.
        """
        if not self._logger.isEnabledFor(logging.INFO):
            return
        ids = job.log_ids()
        if ids is None or (handler := self._only_handler()) is None:
            self._logger.info(event, extra={"fields": {**numbers, **job.log_fields()}})
        else:
            handler.note((time.time(), self._name, event, numbers, ids))

    def _only_handler(self) -> LineHandler | None:
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


def _as_record(line: _Noted) -> logging.LogRecord:
    """Return a line as the standard library has it."""
    _, logger, event, _, _ = line
    return logging.makeLogRecord({"name": logger, "msg": event})
