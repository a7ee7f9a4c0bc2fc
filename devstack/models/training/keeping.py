"""Puts a trained pipeline where the package keeps it: in half precision, without traces."""

import json
import shutil
from pathlib import Path

from devstack.models.trained import WEIGHTS

_NAMES = {"StableDiffusionXLPipeline": "sdxl", "WanPipeline": "wan"}
_TRACE = "_name_or_path"
"""Where something was read from, which nobody else has."""


def keep(folder: Path) -> Path:
    """Replace the pipeline that is kept by the one in this folder; return where it is."""
    import diffusers
    import torch

    pipeline = diffusers.DiffusionPipeline.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True
    )
    place = WEIGHTS / _NAMES[type(pipeline).__name__]
    shutil.rmtree(place, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(place)
    for file in place.rglob("*.json"):
        told = json.loads(file.read_text())
        if _TRACE in told:
            del told[_TRACE]
            file.write_text(f"{json.dumps(told, indent=2)}\n")
    for file in place.rglob("*.safetensors"):
        file.chmod(0o644)
    return place
