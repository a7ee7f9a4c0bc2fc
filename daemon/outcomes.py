"""From what stopped a run to the outcome that is recorded: the one place that translates. Pure."""

from daemon.job_run import Interruption
from daemon.jobs import (
    BACKOFF_FACTOR,
    Cancelled,
    ErrorCode,
    Failed,
    JobError,
    Outcome,
    Released,
    Retry,
    outcome_of,
)
from daemon.values import EngineLostError, RunCancelledError

MAX_ENGINE_LOSSES = 2
"""A job whose engine ends under it in its second attempt or later is failed."""

MAX_ERROR_CHARS = 500
"""Longer error texts are cut: the row is read by browsers, the log has the whole."""


def outcome_of_error(error: Exception, attempt: int) -> Outcome:
    """Return the outcome of the nth attempt that ended with an error."""
    match error:
        case RunCancelledError():
            return Cancelled()
        case EngineLostError():
            return _outcome_of_engine_loss(error, attempt)
        case JobError():
            return outcome_of(error, attempt)
        case _:
            message = f"{type(error).__name__}: {error}"
            return Failed(message[:MAX_ERROR_CHARS], ErrorCode.GENERATION_FAILED)


def outcome_of_interruption(why: Interruption) -> Outcome | None:
    """Return the outcome of a run that was stopped; None: the lease is lost, write nothing."""
    match why:
        case Interruption.LOST:
            return None
        case Interruption.CANCELLED:
            return Cancelled()
        case Interruption.STOPPING:
            return Released("the worker stops")


def _outcome_of_engine_loss(error: EngineLostError, attempt: int) -> Outcome:
    message = f"the engine ended while it ran this job: {error.reason}"[:MAX_ERROR_CHARS]
    if attempt >= MAX_ENGINE_LOSSES:
        return Failed(message, ErrorCode.GENERATION_FAILED)
    return Retry(message, ErrorCode.GENERATION_FAILED, BACKOFF_FACTOR ** (attempt - 1))
