"""What an operator can set of a language model; `docs/chat.md` says what each one is for.

Pure: read by the daemon at its start and by the engine at its load.
"""

from typing import Literal

from pydantic import Field

from handlers.base import ModelSpec
from handlers.diffusion_options import Strict

GIB = 2**30


class TransformersOptions(Strict):
    """The options of the `transformers` runner."""

    chat_template: str = ""
    """Takes the place of the model's own; Jinja, as in its tokenizer's files."""
    attention: Literal["eager", "sdpa", "flash_attention_2", "flex_attention"] | None = None
    """None: what transformers picks."""
    offload: bool = False
    """Let the weights wait on the host also without a GPU, where that gains nothing."""
    keep_host_copy: bool = False

    @classmethod
    def of(cls, spec: ModelSpec) -> "TransformersOptions":
        """Return a model's options."""
        return cls.model_validate(dict(spec.options))


class VllmOptions(Strict):
    """The options of the `vllm` runner."""

    chat_template: str = ""
    """Takes the place of the model's own; Jinja, as in its tokenizer's files."""
    max_model_len: int | None = Field(default=None, ge=16)
    """The most tokens of prompt and answer together; None: the model's own, if they fit."""
    max_num_seqs: int | None = Field(default=None, ge=1)
    """How many requests compute together; None: as many as may run at once."""
    max_num_batched_tokens: int = Field(default=2048, ge=16)
    """How many tokens of prompts are computed at once: more are faster, and take more memory."""
    quantization: str | None = None
    """Such as `awq`, `gptq` or `fp8`; None: what the model's configuration says."""
    kv_cache_dtype: Literal["auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"] = "auto"
    kv_cache_gb: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Bytes for what was read and written; None: what the model's budget leaves."""
    overhead_gb: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """What the budget keeps beside weights and KV cache: context, kernels, activations, graphs.
    None: 1.25 on a GPU; 2.5 on a CPU, for the libraries of three processes."""
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    """vLLM's own share of the device, instead of what the budget leaves: only for a device that
    nothing else is on."""
    enable_prefix_caching: bool = True
    enforce_eager: bool | None = None
    """Compute without CUDA graphs and compiling; None: on a CPU alone."""
    tensor_parallel_size: Literal[1] = 1
    """An engine has one device."""
    offload: bool | None = None
    """Let the weights wait on the host: None: on a GPU alone, since a CPU gains nothing."""

    @classmethod
    def of(cls, spec: ModelSpec) -> "VllmOptions":
        """Return a model's options."""
        return cls.model_validate(dict(spec.options))
