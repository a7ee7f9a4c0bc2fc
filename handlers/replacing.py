"""Components from elsewhere than the checkpoint: a packed transformer, another autoencoder.

A transformer in one file, GGUF or safetensors, has its publishers' names; what it is like says the
configuration in the checkpoint's folder. An autoencoder is a folder of its own.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from handlers.base import ModelSpec
from handlers.checkpoints import check_whole
from handlers.diffusion_options import DiffusionOptions
from handlers.weights import check_weights, read_json, refused

_AUTOENCODERS = {
    "StableDiffusionXLPipeline": ("AutoencoderKL", "AutoencoderTiny"),
    "WanPipeline": ("AutoencoderKLWan",),
}
_GGUF = b"GGUF"


def transformer(
    spec: ModelSpec, options: DiffusionOptions, kind: str, folder: Path, dtype: Any
) -> dict[str, Any]:
    """Return the pipeline's transformer from a file of its own, if the options name one."""
    import diffusers

    file = options.transformer
    if file is None:
        return {}
    if kind != "WanPipeline":
        raise refused(spec, "options.transformer is for Wan: SDXL's UNet comes with its checkpoint")
    if not file.is_file():
        raise refused(spec, f"options.transformer: there is no file {file}")
    packed: dict[str, Any] = {}
    if file.suffix == ".gguf":
        if find_spec("gguf") is None:
            raise refused(spec, "options.transformer needs a package: pip install gguf")
        with file.open("rb") as opened:
            if opened.read(len(_GGUF)) != _GGUF:
                raise refused(spec, f"options.transformer: {file.name} is no GGUF file")
        packed["quantization_config"] = diffusers.GGUFQuantizationConfig(compute_dtype=dtype)
    else:
        check_weights(spec, [file])
    try:
        loaded = diffusers.WanTransformer3DModel.from_single_file(
            str(file), config=str(folder), subfolder="transformer", dtype=dtype, **packed
        )
    except NotImplementedError as error:
        # What torch says of weights that came from nowhere.
        raise refused(spec, f"options.transformer: {file.name} lacks weights") from error
    check_whole(spec, f"transformer {file.name}", loaded)
    return {"transformer": loaded}


def autoencoder(spec: ModelSpec, folder: Path, kind: str, dtype: Any) -> dict[str, Any]:
    """Return the pipeline's autoencoder from a folder of its own."""
    import diffusers

    name = read_json(spec, folder / "config.json").get("_class_name")
    if name not in _AUTOENCODERS[kind]:
        raise refused(spec, f"options.vae: {folder} holds no {' or '.join(_AUTOENCODERS[kind])}")
    check_weights(spec, sorted(folder.glob("*.safetensors")))
    loaded = getattr(diffusers, name).from_pretrained(folder, dtype=dtype, use_safetensors=True)
    check_whole(spec, "options.vae", loaded)
    return {"vae": loaded}
