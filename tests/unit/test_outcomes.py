"""What becomes of a job whose run ended with an error."""

import pytest

from daemon.jobs import Cancelled, ErrorCode, Failed, Released
from daemon.outcomes import MAX_ERROR_CHARS, outcome_of_error
from daemon.values import EngineLostError, Loss, RunCancelledError

LOST = [loss for loss in Loss if loss not in {Loss.STOPPED, Loss.GONE}]


@pytest.mark.parametrize("attempt", [1, 2, 3])
@pytest.mark.parametrize("loss", LOST)
def test_the_first_lost_engine_costs_a_job_nothing(loss: Loss, attempt: int) -> None:
    """Whatever ended it, and however often the job was tried for other reasons."""
    outcome = outcome_of_error(EngineLostError("signal 9", loss), attempt)

    assert outcome == Released("the engine ended while it ran this job: signal 9", engine_lost=True)


@pytest.mark.parametrize("losses", [1, 2])
@pytest.mark.parametrize("loss", LOST)
def test_the_second_lost_engine_costs_the_job(loss: Loss, losses: int) -> None:
    """It ran alone, so it was the cause; the row says what happened."""
    outcome = outcome_of_error(EngineLostError("signal 9", loss), 1, losses=losses)

    assert outcome == Failed(
        "the engine ended while it ran this job: signal 9",
        ErrorCode.GENERATION_FAILED,
        engine_lost=True,
    )


@pytest.mark.parametrize("loss", [Loss.STOPPED, Loss.GONE])
@pytest.mark.parametrize("losses", [0, 1])
def test_an_end_that_they_had_no_part_in_says_nothing_against_jobs(losses: int, loss: Loss) -> None:
    """They go back unmarked, those with a past too."""
    outcome = outcome_of_error(EngineLostError("drained", loss), 1, losses=losses)

    assert outcome == Released("not the job's doing: drained")


def test_long_reasons_are_cut() -> None:
    """The row is read by browsers."""
    for losses in (0, 1):
        match outcome_of_error(EngineLostError("x" * 9000), 1, losses=losses):
            case Released(text) | Failed(text):
                assert len(text) == MAX_ERROR_CHARS
            case other:
                pytest.fail(f"{other}")


def test_a_past_loss_changes_no_other_outcome() -> None:
    """Only another loss tells."""
    assert outcome_of_error(RunCancelledError(), 1, losses=1) == Cancelled()
    assert outcome_of_error(ValueError("odd"), 1, losses=1) == Failed(
        "ValueError: odd", ErrorCode.GENERATION_FAILED
    )
