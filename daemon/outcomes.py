"""From what stopped a run to the outcome that is recorded: the one place that translates. Pure."""

from daemon.job_run import Interruption
from daemon.jobs import (
    Cancelled,
    ErrorCode,
    Failed,
    JobError,
    Outcome,
    Released,
    outcome_of,
)
from daemon.values import EngineLostError, Loss, RunCancelledError

MAX_ERROR_CHARS = 500
"""Longer error texts are cut: the row is read by browsers, the log has the whole."""


def outcome_of_error(error: Exception, attempt: int, losses: int = 0) -> Outcome:
    """Return the outcome of the nth attempt that ended with an error.

    Args:
        error: what the run raised.
        attempt: the number of this counted try.
        losses: how many earlier runs of the job ended with a lost engine.
    """
    match error:
        case RunCancelledError():
            return Cancelled()
        case EngineLostError():
            return _outcome_of_engine_loss(error, losses)
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


def _outcome_of_engine_loss(error: EngineLostError, losses: int) -> Outcome:
    """Give the job back at once, and fail it when that has happened before.

    A run that found its engine ended, or was under way when the worker ended it, had no part in
    that. Otherwise any of the engine's jobs may have ended it the first time, so none pays. From
    then on the job runs alone (`quarantine`): the second loss is its own doing, and would be for
    ever.
    """
    if error.loss in {Loss.STOPPED, Loss.GONE}:
        return Released(f"not the job's doing: {error.reason}"[:MAX_ERROR_CHARS])
    message = f"the engine ended while it ran this job: {error.reason}"[:MAX_ERROR_CHARS]
    if losses:
        return Failed(message, ErrorCode.GENERATION_FAILED, engine_lost=True)
    return Released(message, engine_lost=True)
