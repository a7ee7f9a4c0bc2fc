"""Names to code: handlers by job, runners by what holds the model. Imported when first used."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from handlers.base import (
    GENERATION_FAILED,
    MODEL_LOAD_FAILED,
    Control,
    ModelSpec,
    RunError,
    Runner,
    RunResult,
)

HANDLERS: Mapping[str, tuple[str, str]] = {
    "chat": ("handlers.chat", "chat"),
    "enhance": ("handlers.chat", "enhance"),
    "generate": ("handlers.chat", "generate"),
    "image": ("handlers.image", "image"),
    "video": ("handlers.video", "video"),
}
RUNNERS: Mapping[str, tuple[str, str]] = {
    "vllm": ("handlers.vllm_runner", "load"),
    "transformers": ("handlers.transformers_runner", "load"),
    "diffusers": ("handlers.diffusers_runner", "load"),
    "fake": ("handlers.fake", "load"),
}


def load_runner(spec: ModelSpec) -> Runner:
    """Load the model into this process. Never beside another load."""
    if spec.runner not in RUNNERS:
        raise RunError(
            MODEL_LOAD_FAILED, f"there is no runner {spec.runner!r}, only {', '.join(RUNNERS)}"
        )
    module, function = RUNNERS[spec.runner]
    try:
        load = getattr(import_module(module), function)
    except ImportError as error:
        raise RunError(
            MODEL_LOAD_FAILED, f"the {spec.runner} runner of {spec.model} isn't installed: {error}"
        ) from error
    runner: Runner = load(spec)
    return runner


def run_handler(
    handler: str, runner: Runner, params: Mapping[str, Any], control: Control
) -> RunResult:
    """Run a handler on a loaded model."""
    if handler not in HANDLERS or handler not in runner.serves():
        raise RunError(GENERATION_FAILED, f"{runner.name} has no use for the handler {handler!r}")
    module, function = HANDLERS[handler]
    result: RunResult = getattr(import_module(module), function)(runner, params, control)
    return result
