"""What logging is to the tests, and what several of them have to put back."""

import gc
import logging
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog

from daemon.telemetry import logs


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spare the run what would take part of its time and do nothing for it."""
    # What was imported stays: the collector of garbage needn't go through it again and again.
    gc.freeze()
    # Where no property is run, the library's plugin would load it to report that there is none.
    plugins = session.config.pluginmanager
    if "hypothesis" not in sys.modules and plugins.has_plugin("hypothesispytest"):
        plugins.unregister(name="hypothesispytest")


@pytest.fixture(autouse=True, scope="session")
def plain_tracebacks() -> None:
    """Show logged errors as Python does: drawn with all their locals, each takes 0.1 s."""
    *first, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*first, plain])


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Logging is the process's: put back what a test changed."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    levels = {name: logging.getLogger(name).level for name in logs._CHATTY}
    shown, ours = logs.PROMPTS.shown, structlog.get_config()
    yield
    logging.captureWarnings(capture=False)
    structlog.configure(**ours)
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = before
    logs.PROMPTS.shown = shown
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
