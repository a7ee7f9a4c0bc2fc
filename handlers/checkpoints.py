"""Whether a checkpoint has all that its pipeline needs.

The libraries fill in what a file lacks: with random numbers, or with nothing until the first run.
Both are found here, at load, by name.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from handlers.base import ModelSpec
from handlers.weights import check_weights, refused

_PARTS: Mapping[str, tuple[str, ...]] = {
    "UNet": ("model.diffusion_model.",),
    "autoencoder": ("first_stage_model.", "vae."),
    "first text encoder": ("conditioner.embedders.0.",),
    "second text encoder": ("conditioner.embedders.1.",),
}
"""Of an SDXL checkpoint in one file, by how its tensors' names begin."""

_SHOWN = 2


def text_encoders(
    spec: ModelSpec, folder: Path, index: Mapping[str, Any], dtype: Any, variant: str | None
) -> dict[str, Any]:
    """Load the text encoders of a folder; refuse those that aren't whole."""
    import transformers

    loaded = {}
    for name, source in index.items():
        if not name.startswith("text_encoder") or source[0] != "transformers":
            continue
        model, found = getattr(transformers, source[1]).from_pretrained(
            folder / name,
            dtype=dtype,
            variant=variant,
            use_safetensors=True,
            output_loading_info=True,
            # They are told in `found`; the library's own words are a table.
            ignore_mismatched_sizes=True,
        )
        _refuse(spec, name, "lacks", found["missing_keys"])
        wrong = [key if isinstance(key, str) else key[0] for key in found["mismatched_keys"]]
        _refuse(spec, name, "has the wrong size of", wrong)
        loaded[name] = model
    return loaded


def check_complete(spec: ModelSpec, pipeline: Any) -> None:
    """Refuse a pipeline some of whose weights were in no file."""
    import torch

    for name, module in pipeline.components.items():
        if isinstance(module, torch.nn.Module):
            check_whole(spec, name, module)


def check_whole(spec: ModelSpec, name: str, module: Any) -> None:
    """Refuse a component some of whose weights were in no file."""
    empty = [key for key, weight in module.named_parameters() if weight.is_meta]
    _refuse(spec, name, "lacks", empty)


def check_file(spec: ModelSpec, file: Path) -> None:
    """Refuse a single file that isn't a whole SDXL checkpoint."""
    from safetensors import safe_open

    if file.suffix != ".safetensors":
        raise refused(spec, "a single file must be .safetensors: others can run code")
    check_weights(spec, [file])
    with safe_open(str(file), framework="np") as opened:
        keys = list(opened.keys())
    missing = [
        part for part, starts in _PARTS.items() if not any(key.startswith(starts) for key in keys)
    ]
    if missing:
        raise refused(spec, f"it isn't a whole SDXL checkpoint: it has no {', no '.join(missing)}")


def _refuse(spec: ModelSpec, component: str, how: str, keys: Iterable[str]) -> None:
    keys = sorted(keys)
    if keys:
        more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        raise refused(spec, f"its {component} {how} {', '.join(keys[:_SHOWN])}{more}")
