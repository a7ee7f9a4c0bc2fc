"""Loads diffusion pipelines: a folder with `model_index.json`, or one file of SDXL weights.

Safetensors only: every other format can run code when it is read.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from handlers import checkpoints, replacing, weights
from handlers.base import ModelSpec
from handlers.devices import dtype_of
from handlers.diffusion import DiffusionModel
from handlers.diffusion_options import DiffusionOptions, options_of
from handlers.options import check_options
from handlers.placing import place
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
    """Load a pipeline, tune it as its options say, and bring it to its device."""
    import diffusers

    if problems := check_options(spec.runner, spec.options):
        raise weights.refused(spec, f"options.{'; options.'.join(problems)}")
    options = options_of(spec.options)
    diffusers.utils.logging.disable_progress_bar()
    found = weights.find(spec)
    _check_use(spec, options, found)
    if found is not None and found.is_file():
        pipeline = _load_file(spec, options, found)
    else:
        pipeline = _load_folder(spec, options, found)
    checkpoints.check_complete(spec, pipeline)
    place(spec, options, pipeline)
    return _MODELS[type(pipeline).__name__](spec, pipeline)


def _check_use(spec: ModelSpec, options: DiffusionOptions, found: Path | None) -> None:
    """Refuse options that would be silently ignored for what was found."""
    one_file = found is not None and found.is_file()
    if options.config is not None and not one_file:
        raise weights.refused(spec, "options.config is for a checkpoint in one file")
    if options.transformer is not None and (found is None or one_file):
        raise weights.refused(spec, "options.transformer is for a checkpoint in a folder")


def _load_folder(spec: ModelSpec, options: DiffusionOptions, folder: Path | None) -> Any:
    """Load a folder, or with None what a hub has under the path's name."""
    import diffusers

    if folder is None:
        kind, variant, components = _SINGLE_FILE, None, {}
    else:
        index = weights.read_json(spec, folder / "model_index.json")
        kind, variant = _kind_of(spec, folder, index), _variant_of(spec, folder)
        dtype = dtype_of(spec, _HALF_ON_GPU[kind])
        components = checkpoints.text_encoders(spec, folder, index, dtype, variant)
        components |= replacing.transformer(spec, options, kind, folder, dtype)
    components |= _autoencoder(spec, options, kind)
    return getattr(diffusers, kind).from_pretrained(
        spec.path,
        dtype=_dtypes(spec, kind, folder),
        variant=variant,
        use_safetensors=True,
        **components,
        **_EXTRA.get(kind, {}),
    )


def _load_file(spec: ModelSpec, options: DiffusionOptions, file: Path) -> Any:
    """Load a checkpoint in one file; without a hub the configurations come from a folder."""
    import diffusers

    checkpoints.check_file(spec, file)
    if options.config is None:
        raise weights.refused(
            spec, "a single file needs options.config: a folder with the pipeline's configurations"
        )
    if not (options.config / "model_index.json").is_file():
        raise weights.refused(spec, f"options.config {options.config} has no model_index.json")
    try:
        return diffusers.StableDiffusionXLPipeline.from_single_file(
            str(file),
            config=str(options.config),
            dtype=_dtypes(spec, _SINGLE_FILE, options.config),
            **_autoencoder(spec, options, _SINGLE_FILE),
            **_EXTRA[_SINGLE_FILE],
        )
    except NotImplementedError as error:
        # What torch says of weights that came from nowhere.
        raise weights.refused(
            spec, f"it lacks weights that the configurations in {options.config} name"
        ) from error


def _kind_of(spec: ModelSpec, folder: Path, index: Mapping[str, Any]) -> str:
    """Return the pipeline's class; refuse one that is unknown or incomplete."""
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
    dtype = dtype_of(spec, _HALF_ON_GPU[kind])
    if folder is None or not (folder / "vae" / "config.json").is_file():
        return dtype
    return {"default": dtype, "vae": _autoencoder_dtype(spec, kind, folder / "vae", dtype)}


def _autoencoder(spec: ModelSpec, options: DiffusionOptions, kind: str) -> dict[str, Any]:
    """Return the autoencoder that the options name, if they name one."""
    if options.vae is None:
        return {}
    dtype = _autoencoder_dtype(spec, kind, options.vae, dtype_of(spec, _HALF_ON_GPU[kind]))
    return replacing.autoencoder(spec, options.vae, kind, dtype)


def _autoencoder_dtype(spec: ModelSpec, kind: str, folder: Path, dtype: Any) -> Any:
    import torch

    config = weights.read_json(spec, folder / "config.json")
    # Wan's publishers ask for float32; SDXL's say it in the configuration, repaired ones don't.
    whole = kind == "WanPipeline" or config.get("force_upcast", True)
    return torch.float32 if whole else dtype
