"""From what an engine says to the values and errors of `daemon.values`. Pure."""

from daemon.engines import protocol
from daemon.jobs import ErrorCode, JobError
from daemon.values import ArtifactFile, Loaded, Offloaded, RunCancelledError, RunOutput


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
            return RunOutput(end.fields, files, end.peak_bytes, end.timings, end.held_bytes)
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
