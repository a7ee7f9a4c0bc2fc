"""Which device and number format a model is loaded with. Called in engine processes only."""

from typing import Any

from handlers.base import ModelSpec
from handlers.weights import refused


def device_of(spec: ModelSpec) -> str:
    """Return `cuda` or `cpu`; refuse a GPU that isn't there."""
    import torch

    if spec.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if spec.device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise refused(spec, f"the device {spec.device} is configured, and torch finds no GPU")
        # The engine sees one GPU only: the one that the scheduler chose.
        return "cuda"
    return spec.device


def placed_on(spec: ModelSpec) -> Any:
    """Return the torch device."""
    import torch

    return torch.device(device_of(spec))


def dtype_of(spec: ModelSpec, on_gpu: str) -> Any:
    """Return the torch dtype; `auto` is `on_gpu` there and float32 on a CPU."""
    import torch

    name = spec.dtype
    if name == "auto":
        name = on_gpu if device_of(spec) == "cuda" else "float32"
    return getattr(torch, name)
