"""Small real diffusion models in the test's own process."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handlers.base import ModelSpec, RunResult
from handlers.diffusers_runner import load
from handlers.image import image
from handlers.params import resolve

SMALL = {"prompt": "a red circle", "width": 64, "height": 64, "steps": 5, "seed": 1}


class Quiet:
    """A control that hears nothing and stops nothing."""

    def step(self, *args: Any, **kwargs: Any) -> None:
        """Take a step."""

    def tell(self, text: str) -> None:
        """Take a piece of an answer."""

    def show(self, picture: bytes) -> None:
        """Take a preview."""

    def check(self) -> None:
        """Let it go on."""


def loaded(family: str, path: Path, options: Mapping[str, Any] | None = None, **spec: Any) -> Any:
    """Load a model on the CPU, with one thread: more would spin against one another."""
    import torch

    torch.set_num_threads(1)
    told = {"device": "cpu", "options": dict(options or {}), **spec}
    return load(ModelSpec(family, f"small {family}", str(path), "diffusers", **told))


def drawn(model: Any, saving: int = 0, **request: Any) -> RunResult:
    """Draw a small picture."""
    resolved = resolve("image", "", "wan", "fast", {**SMALL, **request})
    return image(model, {**resolved.params, "saving": saving}, Quiet())


def bytes_of(model: Any, **request: Any) -> bytes:
    """Return a picture's PNG."""
    return drawn(model, **request).files[0].data


def pixels(result: RunResult) -> Any:
    """Return a picture as numbers."""
    import numpy as np
    from PIL import Image

    picture = Image.open(io.BytesIO(result.files[0].data)).convert("RGB")
    return np.asarray(picture).astype("int16")


def difference(one: RunResult, other: RunResult) -> float:
    """Return by how much two pictures differ, as the mean of levels of 255."""
    return float(abs(pixels(one) - pixels(other)).mean())
