"""Runners' options by name: which there are, and what is wrong with given ones."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from handlers.diffusion_options import DiffusionOptions
from handlers.text_options import TransformersOptions, VllmOptions

OPTIONS: Mapping[str, type[BaseModel]] = {
    "diffusers": DiffusionOptions,
    "transformers": TransformersOptions,
    "vllm": VllmOptions,
}
"""A runner that isn't here, such as `fake`, takes any."""


def check_options(runner: str, options: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a runner's options, each as `name: sentence`."""
    kind = OPTIONS.get(runner)
    if kind is None:
        return []
    try:
        kind.model_validate(dict(options))
    except ValidationError as error:
        return [_problem(kind, each) for each in error.errors(include_url=False)]
    return []


def _problem(kind: type[BaseModel], error: Any) -> str:
    path = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        sentence = f"there is no such option; known are {', '.join(kind.model_fields)}"
    elif error["type"] == "value_error":
        sentence = str(error["ctx"]["error"])
    else:
        sentence = error["msg"]
    return f"{path}: {sentence}" if path else sentence
