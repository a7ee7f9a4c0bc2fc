"""Weights in fewer bits: a half or a quarter of the memory, a little less exact.

With fp8 each layer is stored in eight bits and widened when it computes: that saves memory alone.
With int8 the linear layers' weights have eight bits and a scale for each row, by torchao; compiled,
that saves time as well.
"""

from importlib.util import find_spec
from typing import Any

from handlers.base import ModelSpec
from handlers.weights import refused


def quantize(spec: ModelSpec, how: str, modules: list[Any]) -> None:
    """Quantize modules in place.

    Raises:
        RunError: MODEL_LOAD_FAILED, the package for it isn't installed.
    """
    if how == "fp8":
        import torch

        for module in modules:
            module.enable_layerwise_casting(torch.float8_e4m3fn, compute_dtype=module.dtype)
        return
    if find_spec("torchao") is None:
        raise refused(spec, "options.quantize int8 needs the package torchao: pip install torchao")
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    for module in modules:
        quantize_(module, Int8WeightOnlyConfig(), filter_fn=_wide)


def _wide(module: Any, name: str) -> bool:
    """Whether a layer is worth it: embeddings of time and the like are small and sensitive."""
    import torch

    return isinstance(module, torch.nn.Linear) and "embed" not in name
