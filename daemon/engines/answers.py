"""From what an engine says to the values and errors of `daemon.values`. Pure.

What it measured of a run is for learning alone: where it can't be true it counts as not measured,
and the result stands.
"""

import math
from collections.abc import Mapping

from daemon.engines import protocol
from daemon.engines.figures import MOST_BYTES
from daemon.jobs import ErrorCode, JobError
from daemon.values import (
    ArtifactFile,
    Loaded,
    Offloaded,
    RunCancelledError,
    RunOutput,
    StepReport,
)


def output_of(end: protocol.RunEnd) -> RunOutput:
    """Return what a run made.

    Raises:
        JobError: it failed.
        RunCancelledError: it was cancelled.
    """
    match end:
        case protocol.Done():
            files = [
                ArtifactFile(file.kind, file.content_type, file.extension, file.data)
                for file in end.files
            ]
            return RunOutput(
                end.fields,
                files,
                _believed(end.peak_bytes),
                _believed_seconds(end.timings),
                _believed(end.held_bytes),
            )
        case protocol.RunFailed():
            raise job_error(end)
        case protocol.RunCancelled():
            raise RunCancelledError


def loaded_of(answer: protocol.Loaded) -> Loaded:
    """Return what a load or a restoring told."""
    return Loaded(answer.weights_bytes, answer.seconds, answer.offloads, answer.savings)


def offloaded_of(answer: protocol.Offloaded) -> Offloaded:
    """Return what an offloading told."""
    return Offloaded(answer.left_bytes, answer.host_bytes, answer.seconds)


def job_error(
    failure: protocol.LoadFailed | protocol.OffloadFailed | protocol.RunFailed,
) -> JobError:
    """Return the error that a row can show."""
    try:
        return JobError(ErrorCode(failure.error_code), failure.message)
    except ValueError:
        # A code that the row's check constraint doesn't know would lose the error itself.
        return JobError(ErrorCode.GENERATION_FAILED, failure.message)


def step_of(step: protocol.Step) -> StepReport:
    """Return a step, its fraction between 0 and 1 whatever the engine says."""
    # In this order NaN becomes 0.
    fraction = min(1.0, max(0.0, step.fraction))
    return StepReport(step.current_step, fraction, step.step, step.steps, step.text, step.preview)


def _believed(n_bytes: int | None) -> int | None:
    return n_bytes if n_bytes is not None and 0 <= n_bytes <= MOST_BYTES else None


def _believed_seconds(timings: Mapping[str, float]) -> Mapping[str, float]:
    if all(math.isfinite(seconds) and seconds >= 0 for seconds in timings.values()):
        return timings
    return {
        name: seconds
        for name, seconds in timings.items()
        if math.isfinite(seconds) and seconds >= 0
    }
