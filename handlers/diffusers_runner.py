"""Loads diffusion pipelines: a folder with `model_index.json`, or one file of SDXL weights.

Safetensors only: every other format can run code when it is read.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from handlers import weights
from handlers.base import ModelSpec
from handlers.devices import device_of, dtype_of
from handlers.diffusion import DiffusionModel
from handlers.sdxl import SdxlModel
from handlers.wan import WanModel

_MODELS: Mapping[str, type[DiffusionModel]] = {
    "StableDiffusionXLPipeline": SdxlModel,
    "WanPipeline": WanModel,
}
_HALF_ON_GPU = {"StableDiffusionXLPipeline": "float16", "WanPipeline": "bfloat16"}
_EXTRA: Mapping[str, Mapping[str, Any]] = {
    # An invisible watermark would be added wherever its package happens to be installed.
    "StableDiffusionXLPipeline": {"add_watermarker": False},
}
_SINGLE_FILE = "StableDiffusionXLPipeline"


def load(spec: ModelSpec) -> DiffusionModel:
    """Load a pipeline onto its device."""
    import diffusers

    diffusers.utils.logging.disable_progress_bar()
    place = weights.find(spec)
    if place is not None and place.is_file():
        return _load_file(spec, place)
    kind = _SINGLE_FILE if place is None else _kind_of(spec, place)
    variant = None if place is None else _variant_of(spec, place)
    pipeline = getattr(diffusers, kind).from_pretrained(
        spec.path,
        dtype=_dtypes(spec, kind, place),
        variant=variant,
        use_safetensors=True,
        **_EXTRA.get(kind, {}),
    )
    return _MODELS[kind](spec, pipeline.to(device_of(spec)))


def _load_file(spec: ModelSpec, file: Path) -> DiffusionModel:
    """Load a checkpoint in one file; without a hub the configurations come from a folder."""
    import diffusers

    if file.suffix != ".safetensors":
        raise weights.refused(spec, "a single file must be .safetensors: others can run code")
    weights.check_weights(spec, [file])
    config = spec.options.get("config")
    if config is None:
        raise weights.refused(
            spec, "a single file needs options.config: a folder with the pipeline's configurations"
        )
    pipeline = diffusers.StableDiffusionXLPipeline.from_single_file(
        str(file),
        config=str(config),
        dtype=_dtypes(spec, _SINGLE_FILE, Path(str(config))),
        **_EXTRA[_SINGLE_FILE],
    )
    return SdxlModel(spec, pipeline.to(device_of(spec)))


def _kind_of(spec: ModelSpec, folder: Path) -> str:
    """Return the pipeline's class; refuse one that is unknown or incomplete."""
    index = weights.read_json(spec, folder / "model_index.json")
    kind = str(index.get("_class_name"))
    if kind not in _MODELS:
        raise weights.refused(spec, f"it is a {kind}, and only {' and '.join(_MODELS)} are known")
    for name in _components(index):
        if not (folder / name).is_dir():
            raise weights.refused(spec, f"its folder {name} is missing")
    weights.check_weights(spec, sorted(folder.glob("*/*.safetensors")))
    return kind


def _components(index: Mapping[str, Any]) -> Iterator[str]:
    for name, source in index.items():
        if isinstance(source, list) and source and source[0] is not None:
            yield name


def _variant_of(spec: ModelSpec, folder: Path) -> str | None:
    """Return `fp16` where the weights are kept in that variant only."""
    files = [file.name for file in folder.glob("*/*.safetensors")]
    if not files:
        raise weights.refused(spec, "it holds no .safetensors files; other formats can run code")
    return "fp16" if all(".fp16." in name for name in files) else None


def _dtypes(spec: ModelSpec, kind: str, folder: Path | None) -> Any:
    """Return the dtype by component: autoencoders that overflow in half stay in float32."""
    import torch

    dtype = dtype_of(spec, _HALF_ON_GPU[kind])
    if folder is None or not (folder / "vae" / "config.json").is_file():
        return dtype
    autoencoder = weights.read_json(spec, folder / "vae" / "config.json")
    # Wan's publishers ask for float32; SDXL's say it in the configuration, repaired ones don't.
    whole = kind == "WanPipeline" or autoencoder.get("force_upcast", True)
    return {"default": dtype, "vae": torch.float32} if whole else dtype
