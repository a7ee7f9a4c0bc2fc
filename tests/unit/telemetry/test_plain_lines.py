"""Lines that every job has are as all others, though they don't go the way of all others."""

import asyncio
import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from scripted import a_job

from daemon.job_run import JobRun
from daemon.telemetry import logs
from daemon.telemetry.plain_lines import LineHandler, PlainLines

pytestmark = pytest.mark.usefixtures("restored_logging")

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Stream(io.StringIO):
    """Counts writes; may refuse them."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "no space left on device")
        self.writes += 1
        return super().write(text)


class Heard(logging.Handler):
    """Somebody else who listens."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def a_run(**changes: Any) -> JobRun:
    return JobRun(a_job(**changes), 0.0, lambda: 1.0)


@pytest.fixture
def plain() -> Iterator[PlainLines]:
    yield PlainLines("daemon.jobs")
    logging.getLogger("daemon.jobs").setLevel(logging.NOTSET)


def configured(form: Any = "text") -> Stream:
    """Return where the log is written; not a fixture, as pytest listens once a test has begun."""
    stream = Stream()
    logs.configure("info", form, stream)
    return stream


def without_time(line: str, form: str) -> str:
    if form == "text":
        return line.split(" - ", 1)[1]
    return json.dumps({**json.loads(line), "ts": ""})


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "numbers", [{}, {"attempt": 2, "seconds": 1.25}, {"attempt": 1, "seconds": 1e-07}]
)
@pytest.mark.parametrize(
    "changes",
    [{}, {"job_type": "video7b_fast_enhanced"}, {"request": {"traceparent": TRACEPARENT}}],
    ids=["chat", "video", "of a trace"],
)
def test_it_reads_as_any_other_line(
    plain: PlainLines, form: Any, numbers: dict[str, Any], changes: dict[str, Any]
) -> None:
    """The same fields in the same order, and a time of the same form."""
    stream, run = configured(form), a_run(**changes)

    plain.info("job completed", run, **numbers)
    structlog.get_logger("daemon.jobs").info("job completed", **numbers, **run.log_fields())
    first, second = stream.getvalue().splitlines()

    assert without_time(first, form) == without_time(second, form)
    assert len(first) == len(second)
    assert stream.writes == 2


async def test_lines_of_a_turn_are_written_together(plain: PlainLines) -> None:
    """At its end."""
    stream = configured()
    plain.info("processing job", a_run())
    plain.info("processing job", a_run())
    before = stream.writes
    await asyncio.sleep(0)

    assert (before, stream.writes) == (0, 1)
    assert stream.getvalue().count("processing job") == 2
    plain.info("job completed", a_run())
    await asyncio.sleep(0)
    assert stream.getvalue().splitlines()[2].count("job completed") == 1


async def test_they_stay_before_what_came_later(plain: PlainLines) -> None:
    """Any other line has them written first."""
    stream = configured()
    plain.info("processing job", a_run())
    logging.getLogger("asyncpg").warning("slow")
    plain.info("job completed", a_run())
    await asyncio.sleep(0)

    events = [line.split(" - ")[3].split(" ")[0] for line in stream.getvalue().splitlines()]
    assert events == ["processing", "slow", "job"]


@pytest.mark.parametrize("last", [logs.configure, logging.shutdown], ids=["other log", "the end"])
async def test_the_last_ones_are_written(plain: PlainLines, last: Any) -> None:
    """When the process ends in this very turn, or logs otherwise from now on."""
    stream = configured()
    plain.info("processing job", a_run())
    last()

    assert stream.getvalue().count("processing job") == 1


def test_a_level_that_nobody_hears_writes_nothing(plain: PlainLines) -> None:
    """Of all loggers or of this one."""
    stream = configured()
    logs.set_level("warning", "daemon.jobs")
    plain.info("processing job", a_run())
    assert stream.getvalue() == ""
    logs.set_level("info", "daemon.jobs")
    plain.info("processing job", a_run())
    assert "processing job" in stream.getvalue()


@pytest.mark.parametrize("name", [None, "daemon", "daemon.jobs"])
def test_whoever_listens_hears_them(plain: PlainLines, name: str | None) -> None:
    """As records like any other, with their fields."""
    stream = configured()
    heard, run = Heard(), a_run()
    logging.getLogger(name).addHandler(heard)

    plain.info("job completed", run, 1, 0.5)
    logging.getLogger(name).removeHandler(heard)

    [record] = heard.records
    assert record.getMessage() == "job completed"
    assert getattr(record, "fields", None) == {
        "attempt": 1, "seconds": 0.5, **run.log_fields(),
    }  # fmt: skip
    assert stream.getvalue().count("job completed") == 1


def test_filters_are_asked(plain: PlainLines) -> None:
    """Of the logger and of the handler."""
    stream = configured()
    for filtered in (logging.getLogger("daemon.jobs"), logging.getLogger().handlers[0]):
        filtered.addFilter(never := lambda _: False)
        plain.info("processing job", a_run())
        filtered.removeFilter(never)

    assert stream.getvalue() == ""


def test_a_type_that_is_not_ours_is_escaped(plain: PlainLines) -> None:
    """It could be any text."""
    stream = configured()
    plain.info("processing job", a_run(job_type="chat\n2026-01-01 forged"))

    assert len(stream.getvalue().splitlines()) == 1
    assert r'job_type="chat\n2026-01-01 forged"' in stream.getvalue()


def test_a_full_disk_costs_a_line_and_no_job(
    plain: PlainLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with any line, by the standard library's rules."""
    stream = configured()
    handled: list[logging.LogRecord] = []
    monkeypatch.setattr(LineHandler, "handleError", lambda _, record: handled.append(record))
    stream.full = True
    plain.info("processing job", a_run())
    stream.full = False
    plain.info("job completed", a_run())

    assert [record.getMessage() for record in handled] == ["processing job"]
    assert [line.split(" - ")[3].split(" ")[1] for line in stream.getvalue().splitlines()] == [
        "completed"
    ]


def test_another_formatter_is_no_error(plain: PlainLines) -> None:
    """Somebody may have set it."""
    stream = configured()
    [handler] = logging.getLogger().handlers
    handler.setFormatter(logging.Formatter("%(message)s"))
    plain.info("job completed", a_run())

    assert stream.getvalue() == "job completed\n"


async def test_no_line_is_lost_between_threads(plain: PlainLines) -> None:
    """Another thread's lines have those that were noted written, while more are."""
    stream, run, count = configured(), a_run(), 500

    def warn() -> None:
        for _ in range(count):
            logging.getLogger("asyncpg").warning("slow")

    thread = threading.Thread(target=warn)
    thread.start()
    for _ in range(count):
        plain.info("processing job", run)
    thread.join()
    await asyncio.sleep(0)

    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 * count
    assert sum("processing job" in line for line in lines) == count
