"""Which kernels compute attention, tried once at load.

Setting a backend on a model also sets it for the whole process, and a wrong one breaks every
later pipeline; so a failure puts `native` back.
"""

from typing import Any

from handlers.base import ModelSpec
from handlers.failures import sentence
from handlers.weights import refused

_BACKENDS = {
    "math": "_native_math", "efficient": "_native_efficient", "cudnn": "_native_cudnn",
    "flash_3": "_flash_3",
}  # fmt: skip
"""By the worker's names; the others are called so in diffusers, too."""

_TOKENS = 64
"""Of the trial: enough for every kernel's smallest block."""


def choose(spec: ModelSpec, name: str, denoisers: list[Any], device: Any) -> None:
    """Have the denoisers compute attention so.

    Raises:
        RunError: MODEL_LOAD_FAILED, it isn't installed or doesn't run here.
    """
    if name == "native":
        return
    if any(type(denoiser).__name__ == "UNet2DConditionModel" for denoiser in denoisers):
        raise refused(
            spec, f"options.attention {name} is for transformers; SDXL's UNet has native only"
        )
    backend = _BACKENDS.get(name, name)
    for denoiser in denoisers:
        try:
            denoiser.set_attention_backend(backend)
            _try(denoiser, backend, device)
        except Exception as error:
            denoiser.set_attention_backend("native")
            raise refused(
                spec, f"options.attention {name} doesn't run here: {sentence(error)}"
            ) from error


def _try(denoiser: Any, backend: str, device: Any) -> None:
    import torch
    from diffusers.models.attention_dispatch import dispatch_attention_fn

    config = denoiser.config
    shape = (1, _TOKENS, config.num_attention_heads, config.attention_head_dim)
    values = torch.ones(shape, dtype=denoiser.dtype, device=device)
    dispatch_attention_fn(values, values, values, backend=backend)
