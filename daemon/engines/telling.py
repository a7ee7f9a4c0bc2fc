"""What the engine writes of a failure: everything, without secrets."""

import logging
import traceback

from daemon.telemetry.redaction import redact
from handlers.base import RunError

_log = logging.getLogger("engine")


def log_failure(what: str, error: BaseException) -> None:
    """Write a failure, with the way to it where its own words aren't enough."""
    if isinstance(error, RunError):
        # Its sentence was written for this case: the way to it says nothing more.
        _log.warning("%s: %s", what, redact(error.message))
        return
    lines = "".join(traceback.format_exception(error))
    _log.error("%s\n%s", what, redact(lines))
