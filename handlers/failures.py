"""From whatever a model library raises to an error code and one sentence."""

from collections.abc import Iterator

from handlers.base import (
    GENERATION_FAILED,
    MODEL_LOAD_FAILED,
    VRAM_OVERFLOW,
    ModelSpec,
    RunError,
)

_LONGEST = 300
_MEMORY_NAMES = frozenset({"OutOfMemoryError", "MemoryError"})
_MEMORY_WORDS = (
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "can't allocate memory",
)
_BROKEN_NAMES = frozenset({"AcceleratorError"})
_BROKEN_WORDS = (
    "CUDA error",
    "HIP error",
    "CUDA driver error",
    "illegal memory access",
    "illegal instruction",
    "misaligned address",
    "device-side assert",
    "launch failure",
    "uncorrectable ECC",
    "uncorrectable NVLink",
    "busy or unavailable",
    "CUDNN_STATUS_EXECUTION_FAILED",
    "CUBLAS_STATUS_EXECUTION_FAILED",
    "fallen off the bus",
    "GPU is lost",
    "Xid",
)
"""What a context doesn't recover from, as CUDA, its libraries and the driver word it."""


class CoreLostError(Exception):
    """A process that the runner can't do without has ended: this engine is of no further use."""


def of_load(error: BaseException, spec: ModelSpec) -> RunError:
    """Return the failure of a load."""
    if isinstance(error, RunError):
        return error
    if is_out_of_memory(error):
        return RunError(
            VRAM_OVERFLOW, f"the {spec.model} model in {spec.path} doesn't fit into memory"
        )
    return RunError(
        MODEL_LOAD_FAILED,
        f"the {spec.model} model in {spec.path} can't be loaded: {sentence(error)}",
    )


def of_offload(error: BaseException) -> RunError:
    """Return the failure of a move to the host's memory."""
    if isinstance(error, RunError):
        return error
    if is_out_of_memory(error):
        return RunError(VRAM_OVERFLOW, f"the host ran out of memory: {sentence(error)}")
    return RunError(
        MODEL_LOAD_FAILED, f"the weights can't be moved to the host's memory: {sentence(error)}"
    )


def of_run(error: BaseException) -> RunError:
    """Return the failure of a run; the engine goes on."""
    if isinstance(error, RunError):
        return error
    if is_out_of_memory(error):
        return RunError(VRAM_OVERFLOW, f"the device ran out of memory: {sentence(error)}")
    return RunError(GENERATION_FAILED, f"the generation failed: {sentence(error)}")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether the device's or the host's memory ran out, also behind another error."""
    return any(map(_ran_out, _chain(error)))


def is_broken(error: BaseException) -> bool:
    """Say whether no later run of this engine can succeed."""
    return is_poisoned(error) or any(isinstance(each, CoreLostError) for each in _chain(error))


def is_poisoned(error: BaseException) -> bool:
    """Say whether the device's context is broken: it doesn't recover from such an error.

    One that was raised while another one was handled counts too: the first one is the cause.
    """
    return not is_out_of_memory(error) and any(map(_broke, _chain(error)))


def sentence(error: BaseException) -> str:
    """Return class and message on one line, shortened."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _ran_out(error: BaseException) -> bool:
    if _names(error) & _MEMORY_NAMES:
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _MEMORY_WORDS)


def _broke(error: BaseException) -> bool:
    if _names(error) & _BROKEN_NAMES:
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _BROKEN_WORDS)


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
