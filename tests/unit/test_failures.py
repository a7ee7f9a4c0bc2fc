"""From what model libraries raise to what becomes of the run and of its engine."""

import pytest

from daemon.engines.losses import loss_of_exit
from daemon.values import Loss
from handlers import failures
from handlers.base import GENERATION_FAILED, VRAM_OVERFLOW, RunError


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


class AcceleratorError(RuntimeError):
    """Named as torch's."""


def raised(error: BaseException, *, cause: BaseException | None = None) -> BaseException:
    """Return an error as if it was raised from another one, or while that was handled."""
    error.__cause__ = cause
    return error


def while_handling(error: BaseException, first: BaseException) -> BaseException:
    error.__context__ = first
    return error


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: device-side assert triggered",
        "CUDA error: unspecified launch failure",
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA-capable device(s) is/are busy or unavailable",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "CUBLAS_STATUS_EXECUTION_FAILED when calling cublasGemmEx",
        "NVRM: Xid (PCI:0000:65:00): 79, GPU has fallen off the bus.",
        "HIP error: the operation cannot be performed in the present state",
    ],
)
def test_what_a_context_does_not_recover_from_breaks_the_engine(message: str) -> None:
    """No later run in it could succeed."""
    assert failures.is_broken(RuntimeError(message))


@pytest.mark.parametrize(
    "error",
    [
        AcceleratorError("whatever it says"),
        raised(RunError(GENERATION_FAILED, "no picture"), cause=RuntimeError("CUDA error: x")),
        while_handling(KeyError("name"), RuntimeError("CUDA error: x")),
    ],
)
def test_a_broken_context_is_seen_by_its_class_and_behind_other_errors(
    error: BaseException,
) -> None:
    """Whoever handles an error may raise another one."""
    assert failures.is_broken(error)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        raised(ValueError("bad picture"), cause=OutOfMemoryError("CUDA error: out of memory")),
    ],
)
def test_running_out_of_memory_never_breaks_an_engine(error: BaseException) -> None:
    """It goes on: the run can be repeated with less."""
    assert not failures.is_broken(error)
    assert failures.of_run(error).error_code == VRAM_OVERFLOW


@pytest.mark.parametrize(
    "error", [ValueError("CUDA error"), RuntimeError("shapes differ"), RunError("X", "CUDA error")]
)
def test_other_failures_cost_one_run(error: BaseException) -> None:
    """Only the device's own errors break it, not every text that names them."""
    assert not failures.is_broken(error)


def test_a_way_back_to_itself_is_walked_once() -> None:
    """Errors can point at each other."""
    first, second = ValueError("a"), ValueError("b")
    first.__context__, second.__context__ = second, first

    assert not failures.is_broken(first)


@pytest.mark.parametrize(
    ("returncode", "loss"),
    [
        (0, Loss.CRASHED),
        (1, Loss.CRASHED),
        (70, Loss.POISONED),
        (-6, Loss.CRASHED),
        (-9, Loss.KILLED),
        (-11, Loss.CRASHED),
        (-15, Loss.KILLED),
    ],
)
def test_an_exit_tells_how_an_engine_was_lost(returncode: int, loss: Loss) -> None:
    """What a process brings on itself is a crash; other signals somebody else has sent."""
    assert loss_of_exit(returncode) is loss


def test_a_failed_move_to_the_host_names_the_host() -> None:
    """It isn't the device that is full."""
    full = failures.of_offload(MemoryError())
    assert (full.error_code, full.message[:27]) == (VRAM_OVERFLOW, "the host ran out of memory:")
    assert "can't be moved" in failures.of_offload(RuntimeError("no pages")).message
    own = RunError(GENERATION_FAILED, "no")
    assert failures.of_offload(own) is own
