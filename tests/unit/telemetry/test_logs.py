"""One line per event, in the documented form, that nobody can forge."""

import io
import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from daemon.telemetry import line_forms, logs, redaction

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


pytestmark = pytest.mark.usefixtures("restored_logging")

Written = Callable[[], str]


def configured(level: str = "info", form: Any = "text") -> Written:
    stream = io.StringIO()
    logs.configure(level, form, stream)
    return stream.getvalue


def failing(error: Exception) -> None:
    raise error


def test_text_has_the_documented_form() -> None:
    """`time - name - LEVEL - message`, then key=value."""
    written = configured()

    structlog.get_logger("daemon.execution").info(
        "Processing job %s", "j-1", job_type="chat", seconds=1.5, note="two words", none=None
    )

    assert re.fullmatch(
        rf"{TIME} - daemon\.execution - INFO - Processing job j-1 "
        r'job_type=chat seconds=1\.5 note="two words" none=None\n',
        written(),
    )


def test_json_has_one_object_per_line() -> None:
    """Fields stand beside the event with their own types; nothing overwrites what is ours."""
    written = configured(form="json")

    structlog.get_logger("daemon.leases").warning("lease lost", held=2, of={"a": 1}, level="x")
    entry = json.loads(written())

    ts = entry.pop("ts")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", ts)
    assert datetime.fromisoformat(ts).tzinfo is UTC
    assert entry == {
        "level": "warning", "logger": "daemon.leases", "event": "lease lost",
        "held": 2, "of": {"a": 1},
    }  # fmt: skip


def test_libraries_come_out_in_the_same_form() -> None:
    """The standard library's records pass the same formatter."""
    written = configured()

    logging.getLogger("asyncpg").warning("slow %s", "query")

    assert re.fullmatch(rf"{TIME} - asyncpg - WARNING - slow query\n", written())


@pytest.mark.parametrize(("level", "heard"), [("info", False), ("debug", True)])
def test_chatty_libraries_are_heard_at_debug_only(level: str, heard: bool) -> None:
    """The HTTP client logs every request with its URL at INFO."""
    written = configured(level)

    logging.getLogger("httpx").info("HTTP Request")

    assert bool(written()) is heard


def test_level_is_kept() -> None:
    """What is below the level costs nothing and shows nothing."""
    written = configured("warning")

    structlog.get_logger("daemon").info("quiet")

    assert written() == ""


def test_traceback_lines_cannot_pass_as_records() -> None:
    """An exception's own newlines stay behind the bar."""
    written = configured()

    try:
        failing(ValueError("bad\n2026-01-01 00:00:00,000 - daemon - INFO - forged"))
    except ValueError:
        structlog.get_logger("daemon").exception("run failed")
    head, *trace = written().splitlines()

    assert head.endswith("- ERROR - run failed")
    assert trace[0] == "  | Traceback (most recent call last):"
    assert all(line.startswith("  | ") for line in trace)
    assert trace[-1] == "  | 2026-01-01 00:00:00,000 - daemon - INFO - forged"


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_taken_out_everywhere(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Message, arguments, fields, exceptions, and libraries' records."""
    redactor = redaction.Redactor()
    redactor.register('pass"word\\1')
    monkeypatch.setattr(line_forms, "redact", redactor.text)
    monkeypatch.setattr(line_forms, "redact_value", redactor.value)
    written = configured(form=form)
    secret = 'pass"word\\1'

    log = structlog.get_logger("daemon")
    said = f"said {secret}"
    log.info(said, secret_inside=f"<{secret}>", deep=[{"x": secret}])
    logging.getLogger("lib").warning("url %s", f"postgres://u:{secret}@h/d")
    try:
        failing(RuntimeError(f"refused {secret}", secret))
    except RuntimeError:
        log.exception("failed", error=RuntimeError(secret))

    assert 'pass"word' not in written()
    assert "word\\\\1" not in written()
    assert "word\\1" not in written()
    assert written().count(redaction.HIDDEN) >= 6


def test_registered_secret_is_hidden_by_the_configured_log() -> None:
    """`register_secret` is the one call that settings make."""
    logs.register_secret("correct-horse-battery")
    written = configured()

    structlog.get_logger("daemon").info("key is correct-horse-battery")

    assert written().endswith("key is [redacted]\n")


def test_uncaught_exceptions_are_logged_redacted() -> None:
    """The interpreter's own traceback would print the password."""
    written = configured()

    try:
        failing(RuntimeError("postgres://u:hunter2@db is down"))
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, error.__traceback__)

    assert "CRITICAL - uncaught exception" in written()
    assert "hunter2" not in written()


def test_interrupt_is_no_error() -> None:
    """Control-C isn't a defect."""
    written = configured()

    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)

    assert written() == ""


def test_uncaught_exceptions_of_threads_are_logged() -> None:
    """A sampler's thread that dies says so."""
    written = configured()
    thread = threading.Thread(target=failing, args=(IndexError(),))

    thread.start()
    thread.join()

    assert "IndexError" in written()


def test_wrong_arguments_of_a_library_cost_no_line() -> None:
    """The standard library would print a traceback with the arguments instead."""
    written = configured()

    logging.getLogger("lib").info("%d jobs", "two")

    assert written().endswith(" - INFO - %d jobs ('two',)\n")


def test_long_values_are_cut() -> None:
    """A row's author decides how long a prompt is, not how long a log is."""
    written = configured()

    structlog.get_logger("daemon").info("m" * 10_000, value="v" * 10_000)

    assert len(written()) < 8_500
    assert written().count("(10000 characters)") == 2


def test_warnings_are_logged() -> None:
    """A library's deprecation goes where everything goes."""
    written = configured()

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    assert "py.warnings - WARNING" in written()


def test_only_the_beginning_of_a_prompt_is_logged() -> None:
    """100 characters, as documented."""
    assert logs.excerpt("x" * 100) == "x" * 100
    assert logs.excerpt("x" * 101) == "x" * 100 + "..."


def test_an_exception_is_one_field_of_one_json_line() -> None:
    """A shipper of logs reads line by line."""
    written = configured(form="json")

    try:
        failing(ValueError("first\nsecond"))
    except ValueError:
        logging.getLogger("lib").exception("broken")
    (line,) = written().splitlines()

    assert json.loads(line)["exception"].endswith("ValueError: first\nsecond")


def test_an_endless_traceback_loses_its_middle() -> None:
    """Where it began and what it was stay."""
    written = configured(form="json")

    try:
        failing(ValueError("x" * 100_000))
    except ValueError:
        logging.getLogger("lib").exception("broken")
    exception = json.loads(written())["exception"]

    assert exception.startswith("Traceback")
    assert len(exception) < 33_000


@pytest.mark.parametrize("created", [1764144000.0, 1764144000.007, 1764143999.9995, 0.25])
def test_a_line_says_when_it_was_written(created: float) -> None:
    """To the microsecond in JSON, as the standard library does in text; nothing is rounded up."""
    record = logging.LogRecord("daemon", logging.INFO, "f", 1, "here", None, None)
    record.created, record.msecs = created, int(created * 1000) % 1000

    text = line_forms.TextFormatter().format(record)
    shown = json.loads(line_forms.JsonFormatter().format(record))["ts"]

    assert text.startswith(f"{logging.Formatter().formatTime(record)} - ")
    assert 0 <= created - datetime.fromisoformat(shown).timestamp() < 2e-6
