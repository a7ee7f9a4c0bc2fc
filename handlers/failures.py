"""From whatever a model library raises to an error code and one sentence."""

from handlers.base import (
    GENERATION_FAILED,
    MODEL_LOAD_FAILED,
    VRAM_OVERFLOW,
    ModelSpec,
    RunError,
)

_LONGEST = 300
_MEMORY_WORDS = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory")
_BROKEN_WORDS = ("CUDA error", "CUDNN_STATUS_EXECUTION_FAILED", "CUBLAS_STATUS_EXECUTION_FAILED")


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


def of_run(error: BaseException) -> RunError:
    """Return the failure of a run; the engine goes on."""
    if isinstance(error, RunError):
        return error
    if is_out_of_memory(error):
        return RunError(VRAM_OVERFLOW, f"the device ran out of memory: {sentence(error)}")
    return RunError(GENERATION_FAILED, f"the generation failed: {sentence(error)}")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether the device's or the host's memory ran out."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"OutOfMemoryError", "MemoryError"}:
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _MEMORY_WORDS)


def is_broken(error: BaseException) -> bool:
    """Say whether no later run can succeed: a CUDA context doesn't recover from such an error."""
    if is_out_of_memory(error) or not isinstance(error, RuntimeError):
        return False
    return any(word in str(error) for word in _BROKEN_WORDS)


def sentence(error: BaseException) -> str:
    """Return class and message on one line, shortened."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
