"""Logging: one line per event, as text or JSON, from structlog and the standard library alike.

Everything goes through the standard library's root handler and one formatter, so that nothing
passes by the redaction: not an exception's text, not a library's own lines. The daemon logs with

    log = structlog.get_logger(__name__)
    log.info("job finished", job_id=job.id, outcome="completed")

Lines that are written in a job's task carry the job's ids (`context`), and none carries what users
wrote (`prompts`). structlog takes 0.1 s to import, so this module imports it only to configure it:
what must answer before everything else is loaded (`daemon.server`) uses the standard library's
`logging`.
"""

import json
import logging
import re
import sys
import threading
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from daemon.telemetry import context
from daemon.telemetry.prompts import PROMPTS, Shown
from daemon.telemetry.redaction import redact, redact_value, register_secret

__all__ = ["configure", "excerpt", "register_secret", "set_level"]

Level = Literal["debug", "info", "warning", "error"]

_LIMIT = 4000
"""Characters of one message or value; rows are written by strangers."""

_LONGEST_TRACE = 32_000
"""Characters of an exception's text, of which the middle is left out."""

_EXCERPT = 100
"""Characters of a system prompt that may be logged."""

_CHATTY = (
    "httpx", "httpcore", "hpack", "h2", "websockets", "realtime", "asyncio", "aiohttp", "urllib3",
)  # fmt: skip
"""Libraries that log every request or frame; heard from INFO up to DEBUG only at `debug`."""

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\\]")
"""What could forge a line, drive a terminal, turn text around, or can't be encoded."""

_BARE = re.compile(r"[^\s\"=]+")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}


class TextFormatter(logging.Formatter):
    """`time - name - LEVEL - message key=value`; a traceback follows, each line behind a bar."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record; every newline in it starts with the bar or is escaped."""
        message = _escape(_cut(_message(record)))
        pairs = (f" {_escape(key)}={_quoted(value)}" for key, value in _fields(record).items())
        name = _escape(record.name)
        head = f"{self.formatTime(record)} - {name} - {record.levelname} - {message}"
        # The bar keeps an exception's own newlines from passing as records.
        trace = (f"\n  | {_escape(line)}" for line in _trace(self, record).splitlines())
        return "".join((head, *pairs, *trace))


class JsonFormatter(logging.Formatter):
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


def configure(
    level: Level = "info",
    format: Literal["text", "json", "auto"] = "text",  # noqa: A002 -- the setting's name
    stream: TextIO | None = None,
    prompts: Shown = "false",
) -> None:
    """Send all logging of the process to `stream` (stderr), replacing what was there.

    `auto` is text on a terminal and JSON elsewhere. Uncaught exceptions are logged too: the
    interpreter's own traceback isn't redacted.
    """
    handler = logging.StreamHandler(stream)
    if format == "auto":
        format = "text" if handler.stream.isatty() else "json"  # noqa: A001 -- as above
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    PROMPTS.shown = prompts
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    set_level(level)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    _configure_structlog()


def set_level(level: Level, logger: str | None = None) -> None:
    """Hear from now on what is at least of this level: of one logger, or of all.

    For all, libraries that log every request stay silent up to `warning`, but at `debug`; what was
    set for single loggers stays.
    """
    logging.getLogger(logger).setLevel(level.upper())
    if logger is None:
        chatty = logging.NOTSET if level == "debug" else logging.WARNING
        for name in _CHATTY:
            logging.getLogger(name).setLevel(chatty)


def excerpt(prompt: str) -> str:
    """Return the part of a prompt that may be logged where prompts may: 100 characters."""
    return prompt if len(prompt) <= _EXCERPT else f"{prompt[:_EXCERPT]}..."


def _configure_structlog() -> None:
    import structlog

    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            _to_record,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # Loggers are made when modules are imported; a later `configure` must reach them.
        cache_logger_on_first_use=False,
    )


def _to_record(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> tuple[tuple[str], dict[str, Any]]:
    """Split an event into what `logging` knows and `fields`, which the formatters print."""
    del logger
    keywords: dict[str, Any] = {
        key: event.pop(key) for key in ("exc_info", "stack_info") if key in event
    }
    if method == "exception":
        keywords.setdefault("exc_info", True)
    message = str(event.pop("event", ""))
    return (message,), {**keywords, "extra": {"fields": dict(event)}}


def _utc(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z"


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


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("daemon").critical("uncaught exception", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
