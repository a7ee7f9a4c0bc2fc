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

import logging
import sys
import threading
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

from daemon.telemetry.line_forms import JsonFormatter, TextFormatter
from daemon.telemetry.plain_lines import LineHandler
from daemon.telemetry.prompts import PROMPTS, Shown
from daemon.telemetry.redaction import register_secret

__all__ = ["configure", "excerpt", "register_secret", "set_level"]

Level = Literal["debug", "info", "warning", "error"]

_EXCERPT = 100
"""Characters of a system prompt that may be logged."""

_CHATTY = (
    "httpx", "httpcore", "hpack", "h2", "websockets", "realtime", "asyncio", "aiohttp", "urllib3",
)  # fmt: skip
"""Libraries that log every request or frame; heard from INFO up to DEBUG only at `debug`."""


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
    handler = LineHandler(stream)
    if format == "auto":
        format = "text" if handler.stream.isatty() else "json"  # noqa: A001 -- as above
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    PROMPTS.shown = prompts
    root = logging.getLogger()
    for old in root.handlers[:]:
        old.flush()
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


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("daemon").critical("uncaught exception", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
