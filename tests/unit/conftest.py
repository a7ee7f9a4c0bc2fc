"""What several tests have to put back."""

import logging
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog

from daemon.telemetry import logs


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Logging is the process's: put back what a test changed."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    levels = {name: logging.getLogger(name).level for name in logs._CHATTY}
    shown = logs.PROMPTS.shown
    yield
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = before
    logs.PROMPTS.shown = shown
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
