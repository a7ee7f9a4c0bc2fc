"""The two forms of a line: text for people, JSON for programs. Neither can be forged.

Both take records of the standard library, and take out of them what is secret and what users wrote.
And both write plain lines: of fixed words, ids and numbers alone, where there is nothing to take
out or to escape, and which are a twentieth of the work (`plain_lines`).
"""

import json
import logging
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from daemon.telemetry import context
from daemon.telemetry.context import JobIds
from daemon.telemetry.prompts import PROMPTS
from daemon.telemetry.redaction import redact, redact_value

_LIMIT = 4000
"""Characters of one message or value; rows are written by strangers."""

_LONGEST_TRACE = 32_000
"""Characters of an exception's text, of which the middle is left out."""

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\\]")
"""What could forge a line, drive a terminal, turn text around, or can't be encoded."""

_BARE = re.compile(r"[^\s\"=]+")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}


PlainLine = tuple[float, str, int, float, JobIds]
"""When (seconds since 1970), fixed words, `attempt` and `seconds` (attempt 0: it has neither),
and whose line it is."""


class PlainForm(logging.Formatter, ABC):
    """A form that plain lines can be written in."""

    @abstractmethod
    def plain(self, logger: str, lines: Iterable[PlainLine]) -> str:
        """Render lines of level info of one logger, each just as `format` would, and its end."""


class TextFormatter(PlainForm):
    """`time - name - LEVEL - message key=value`; a traceback follows, each line behind a bar."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record; every newline in it starts with the bar or is escaped."""
        message = _escape(_cut(_message(record)))
        pairs = (f" {_escape(key)}={_quoted(value)}" for key, value in _fields(record).items())
        name = _escape(record.name)
        head = f"{_local(record.created)} - {name} - {record.levelname} - {message}"
        # The bar keeps an exception's own newlines from passing as records.
        trace = (f"\n  | {_escape(line)}" for line in _trace(self, record).splitlines())
        return "".join((head, *pairs, *trace))

    def plain(self, logger: str, lines: Iterable[PlainLine]) -> str:
        """Render plain lines."""
        head, found = f" - {logger} - INFO - ", []
        last, time_ = 0, ""
        for created, event, attempt, seconds, ids in lines:
            job_id, claim_id, job_type, model, trace_id = ids
            if (millisecond := int(created * 1e3)) != last:
                last, time_ = millisecond, _local(created)
            pairs = f" attempt={attempt} seconds={seconds}" if attempt else ""
            found.append(
                f"{time_}{head}{event}{pairs} job_id={job_id!s} claim_id={claim_id!s} "
                f"job_type={job_type} model={model} trace_id={trace_id or job_id.hex}\n"
            )
        return "".join(found)


class JsonFormatter(PlainForm):
    """One JSON object per line: ts (RFC 3339, UTC), level, logger, event, the fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        entry: dict[str, Any] = {
            "ts": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _cut(_message(record)),
        }
        for key, value in _fields(record).items():
            entry.setdefault(key, _cut(value) if isinstance(value, str) else value)
        if trace := _trace(self, record):
            entry["exception"] = trace
        return json.dumps(entry)

    def plain(self, logger: str, lines: Iterable[PlainLine]) -> str:
        """Render plain lines."""
        head, found = f'"level": "info", "logger": "{logger}", "event"', []
        for created, event, attempt, seconds, ids in lines:
            job_id, claim_id, job_type, model, trace_id = ids
            pairs = f', "attempt": {attempt}, "seconds": {seconds}' if attempt else ""
            found.append(
                f'{{"ts": "{_utc(created)}", {head}: "{event}"{pairs}, "job_id": "{job_id!s}", '
                f'"claim_id": "{claim_id!s}", "job_type": "{job_type}", "model": "{model}", '
                f'"trace_id": "{trace_id or job_id.hex}"}}\n'
            )
        return "".join(found)


def _utc(seconds: float) -> str:
    second = int(seconds)
    return f"{_utc_second(second)}.{int((seconds - second) * 1e6):06d}Z"


def _local(seconds: float) -> str:
    second, millisecond = divmod(int(seconds * 1e3), 1000)
    return f"{_local_second(second)},{millisecond:03d}"


@lru_cache(maxsize=1)
def _utc_second(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"


@lru_cache(maxsize=1)
def _local_second(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 -- wrong arguments to a library's log call must not cost the line
        message = f"{record.msg} {record.args!r}"
    # Our own events are fixed words; what changes from line to line stands in their fields.
    ours = hasattr(record, "fields")
    return redact(message if ours else PROMPTS.hide(message, _claim_of_task()))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the line's own fields, then those of the job that it is about."""
    own, about = getattr(record, "fields", {}), context.fields()
    fields: dict[str, Any] = redact_value(own)
    claim = about.get("claim_id")
    for name, value in fields.items():
        if isinstance(value, str | dict | list) and name not in context.IDENTIFIERS:
            fields[name] = PROMPTS.hide_value(value, claim)
    return {**fields, **{name: value for name, value in about.items() if name not in fields}}


def _claim_of_task() -> str | None:
    return context.fields().get("claim_id")


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(record.stack_info)
    text = "\n".join(parts)
    if len(text) > _LONGEST_TRACE:
        half = _LONGEST_TRACE // 2
        text = f"{text[:half]}\n… ({len(text)} characters)\n{text[-half:]}"
    return PROMPTS.hide(redact(text), _claim_of_task()) if text else ""


def _cut(text: str) -> str:
    return text if len(text) <= _LIMIT else f"{text[:_LIMIT]}… ({len(text)} characters)"


def _escape(text: str) -> str:
    return _UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    if short := _SHORT.get(character):
        return short
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 -- Latin-1's end


def _quoted(value: Any) -> str:
    match value:
        case str():
            text = _escape(_cut(value))
        case dict() | list():
            text = _escape(_cut(json.dumps(value, ensure_ascii=False)))
        case _:
            text = str(value)
    return text if _BARE.fullmatch(text) else '"' + text.replace('"', '\\"') + '"'
