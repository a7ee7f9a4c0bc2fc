"""What the log is told beside its lines: which job they are about, and what is heard of them."""

import io
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from daemon.telemetry import context, line_forms, logs
from daemon.telemetry.prompts import Prompts

pytestmark = pytest.mark.usefixtures("restored_logging")

Written = Callable[[], str]


class Terminal(io.StringIO):
    """A stream that somebody reads."""

    def isatty(self) -> bool:
        return True


def configured(level: str = "info", form: Any = "text") -> Written:
    stream = io.StringIO()
    logs.configure(level, form, stream)
    return stream.getvalue


def failing(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("stream", "form"), [(Terminal(), "text"), (io.StringIO(), "json")], ids=["terminal", "file"]
)
def test_auto_writes_text_on_a_terminal_and_json_elsewhere(stream: io.StringIO, form: str) -> None:
    """People read one, programs the other."""
    logs.configure("info", "auto", stream)

    logging.getLogger("daemon").info("hello")

    assert stream.getvalue().startswith("{") is (form == "json")


def test_the_level_changes_at_run_time() -> None:
    """Of all loggers, chatty libraries included, or of one."""
    written = configured("warning")
    names = ("daemon.a", "httpx")

    def heard() -> list[str]:
        before = len(written())
        for name in names:
            logging.getLogger(name).info("here")
        return [name for name in names if f" - {name} - " in written()[before:]]

    assert heard() == []
    logs.set_level("info")
    assert heard() == ["daemon.a"]
    logs.set_level("debug")
    assert heard() == ["daemon.a", "httpx"]
    logs.set_level("warning")
    logs.set_level("info", "daemon.a")
    assert heard() == ["daemon.a"]
    logging.getLogger("daemon.a").setLevel(logging.NOTSET)


class Job:
    """What lines are about."""

    def log_fields(self) -> dict[str, str]:
        return {"job_id": "j-1", "claim_id": "c-1", "trace_id": "t-1"}


def test_lines_of_a_task_say_which_job_they_are_about() -> None:
    """Those of libraries too; a line's own fields win."""
    written = configured(form="json")

    with context.lines_of(Job()):
        structlog.get_logger("daemon").info("ours", claim_id="other", seconds=1)
        logging.getLogger("asyncpg").warning("theirs")
    logging.getLogger("asyncpg").warning("nobody's")
    ours, theirs, nobodys = map(json.loads, written().splitlines())

    assert (ours["job_id"], ours["claim_id"], ours["seconds"]) == ("j-1", "other", 1)
    assert (theirs["job_id"], theirs["claim_id"], theirs["trace_id"]) == ("j-1", "c-1", "t-1")
    assert "job_id" not in nobodys


def test_no_line_repeats_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a field, nor in an exception, nor in what a library says of it."""
    prompts = Prompts()
    prompts.hold("c-1", {"prompt": "a marked lake under\nthe northern lights"})
    monkeypatch.setattr(line_forms, "PROMPTS", prompts)
    written = configured(form="json")

    log = structlog.get_logger("daemon")
    log.warning("refused", error="no: 'a marked lake under'", deep={"x": ["the northern lights"]})
    logging.getLogger("lib").warning("got %r", "a marked lake under\nthe northern lights")
    try:
        failing(RuntimeError("a marked lake under\nthe northern lights"))
    except RuntimeError:
        log.exception("failed")

    assert "marked" not in written()
    assert "northern" not in written()
    assert written().count("[prompt]") >= 4
