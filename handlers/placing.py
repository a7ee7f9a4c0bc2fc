"""From a pipeline as its checkpoint has it, on the host, to one tuned as wanted, on its device.

What changes weights happens on the host and in this order: a scheduler, LoRAs, then fewer bits. A
device then never holds more than it must.
"""

import shutil
from typing import Any

from handlers import attention, loras, quantizing, schedulers
from handlers.base import ModelSpec
from handlers.devices import placed_on
from handlers.diffusion_options import DiffusionOptions, GroupOffload
from handlers.weights import refused

DENOISERS = ("unet", "transformer", "transformer_2")


def place(spec: ModelSpec, options: DiffusionOptions, pipeline: Any) -> None:
    """Tune a pipeline and bring it to its device.

    Raises:
        RunError: MODEL_LOAD_FAILED, an option isn't for this model or not for this machine.
    """
    device = placed_on(spec)
    denoisers = denoisers_of(pipeline)
    schedulers.choose(spec, options, pipeline)
    loras.fuse(spec, options.loras, pipeline)
    if options.channels_last:
        _lay_channels_last(spec, pipeline, denoisers)
    if options.quantize:
        quantizing.quantize(spec, options.quantize, denoisers)
    if options.quantize_text:
        quantizing.quantize(spec, options.quantize_text, _text_encoders(pipeline))
    if options.group_offload:
        _offload_groups(options.group_offload, pipeline, device)
    else:
        pipeline.to(device)
    attention.choose(spec, options.attention, denoisers, device)
    if options.compile:
        _compile(spec, denoisers, device)


def _compile(spec: ModelSpec, denoisers: list[Any], device: Any) -> None:
    # Kernels for a GPU are Triton's, which compiles a little C; those for a CPU are C++.
    gpu = device.type == "cuda"
    language, compilers = ("C", ["gcc", "clang", "cc"]) if gpu else ("C++", ["g++", "clang++"])
    if not any(map(shutil.which, compilers)):
        raise refused(spec, f"options.compile needs a {language} compiler: install {compilers[0]}")
    for denoiser in denoisers:
        # The blocks that repeat are compiled once for all of them, at the first run.
        denoiser.compile_repeated_blocks(fullgraph=True)


def denoisers_of(pipeline: Any) -> list[Any]:
    """Return what takes the steps: one model, or two for high and for low noise."""
    found = (getattr(pipeline, name, None) for name in DENOISERS)
    return [denoiser for denoiser in found if denoiser is not None]


def tuning_of(options: DiffusionOptions, pipeline: Any) -> dict[str, Any]:
    """Return what results say of how a model is tuned: all that changes what is drawn."""
    dtype = str(denoisers_of(pipeline)[0].dtype).removeprefix("torch.")
    facts: dict[str, Any] = {"scheduler": schedulers.name_of(options, pipeline), "dtype": dtype}
    if options.loras:
        facts["loras"] = [{"name": each.name, "weight": each.weight} for each in options.loras]
    if options.transformer:
        facts["transformer"] = options.transformer.stem
    if options.quantize:
        facts["quantize"] = options.quantize
    if options.step_cache:
        facts["step_cache"] = options.step_cache.kind
    return facts


def _text_encoders(pipeline: Any) -> list[Any]:
    found = (getattr(pipeline, name, None) for name in ("text_encoder", "text_encoder_2"))
    return [encoder for encoder in found if encoder is not None]


def _lay_channels_last(spec: ModelSpec, pipeline: Any, denoisers: list[Any]) -> None:
    import torch

    if getattr(pipeline, "unet", None) is None:
        raise refused(spec, "options.channels_last is for SDXL: a transformer has no convolutions")
    for module in (*denoisers, pipeline.vae):
        module.to(memory_format=torch.channels_last)


def _offload_groups(chosen: GroupOffload, pipeline: Any, device: Any) -> None:
    import torch

    pipeline.enable_group_offload(
        onload_device=device,
        offload_device=torch.device("cpu"),
        offload_type=f"{chosen.level}_level",
        num_blocks_per_group=chosen.blocks if chosen.level == "block" else None,
        use_stream=chosen.stream,
        # Small, and its methods aren't calls that hooks would see.
        exclude_modules=["vae"],
    )
    pipeline.vae.to(device)
