"""Weights in fewer bits: a half or a quarter of the memory, a little less exact.

With fp8 each layer is stored in eight bits and widened when it computes: that saves memory alone.
With int8 the linear layers' weights have eight bits and a scale for each row, by torchao; compiled,
that saves time as well. With nf4 they have four bits, by bitsandbytes.
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
    package = _PACKAGES[how]
    if find_spec(package) is None:
        raise refused(spec, f"options.quantize {how} needs a package: pip install {package}")
    for module in modules:
        _QUANTIZERS[how](module)


def _to_int8(module: Any) -> None:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    quantize_(module, Int8WeightOnlyConfig(), filter_fn=_wide)


def _to_nf4(module: Any) -> None:
    import bitsandbytes as bnb

    for name, layer in list(module.named_modules()):
        if not _wide(layer, name):
            continue
        weight = layer.weight.data
        packed = bnb.nn.Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=weight.dtype,
            quant_type="nf4",
        )
        # It is packed when it goes to its device.
        packed.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4")
        packed.bias = layer.bias
        parent, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(parent), leaf, packed)


def _wide(module: Any, name: str) -> bool:
    """Whether a layer is worth it: embeddings of time and the like are small and sensitive."""
    import torch

    return isinstance(module, torch.nn.Linear) and "embed" not in name


_PACKAGES = {"int8": "torchao", "nf4": "bitsandbytes"}
_QUANTIZERS = {"int8": _to_int8, "nf4": _to_nf4}
