"""Asks a pipeline for what it never saw, and counts what it got right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from devstack.models.training import judging
from devstack.models.training.captions import MOVES, PLACES, Scene, held_out

_GUIDANCE = 5.0
"""What a request has that says nothing else; as are the steps."""

_STEPS = {1: 20}
_FILM_STEPS = 25
_SEED = 1


_MEASURED = {
    "StableDiffusionXLPipeline": [(1, 64), (1, 128)],
    "WanPipeline": [(1, 64), (9, 64)],
}
"""Frames and sides."""


def measure(folder: Path, sheets: Path | None = None) -> dict[str, dict[str, int]]:
    """Return by frames and side, such as `1x64`, how many of the scenes held out come out right."""
    import diffusers
    import torch

    pipeline = diffusers.DiffusionPipeline.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True
    )
    figures = {}
    for frames, side in _MEASURED[type(pipeline).__name__]:
        scenes = held_out(tuple(MOVES if frames > 1 else PLACES))
        clips = drawn(pipeline, scenes, side, frames)
        figures[f"{frames}x{side}"] = right(scenes, clips)
        if sheets is not None:
            sheet(clips, sheets / f"{folder.name}-{frames}x{side}.png")
    return figures


def drawn(pipeline: Any, scenes: list[Scene], side: int, frames: int = 1) -> Any:
    """Return clips of bytes, one a scene: scenes, frames, height, width, colours."""
    import torch

    generators = [torch.Generator().manual_seed(_SEED + number) for number in range(len(scenes))]
    call: dict[str, Any] = {
        "height": side,
        "width": side,
        "num_inference_steps": _STEPS.get(frames, _FILM_STEPS),
        "guidance_scale": _GUIDANCE,
        "generator": generators,
        "output_type": "np",
    }
    captions = [scene.caption() for scene in scenes]
    pipeline.set_progress_bar_config(disable=True)
    with torch.no_grad():
        if hasattr(pipeline, "unet"):
            pictures = pipeline(prompt=captions, **call)[0][:, None]
        else:
            pictures = pipeline(prompt=captions, negative_prompt="", num_frames=frames, **call)[0]
    return (pictures * 255).round().astype("uint8")


def right(scenes: list[Scene], clips: Any) -> dict[str, int]:
    """Return by property how many clips show what was asked for, in every third of the frames."""
    found = [[judging.seen(clip[number]) for number in _looked_at(len(clip))] for clip in clips]
    pairs = list(zip(scenes, found, strict=True))
    counts = {
        "background": _count(pairs, lambda scene, seen: seen.ground == scene.ground),
        "colour": _count(pairs, lambda scene, seen: seen.colour == scene.colour),
        "shape": _count(pairs, lambda scene, seen: seen.shape == scene.shape),
        "both colours": _count(
            pairs, lambda scene, seen: (seen.ground, seen.colour) == (scene.ground, scene.colour)
        ),
    }
    if scenes[0].where in MOVES:
        moves = [judging.move(clip) for clip in clips]
        counts["move"] = sum(move == scene.where for move, scene in zip(moves, scenes, strict=True))
    else:
        counts["place"] = _count(pairs, lambda scene, seen: seen.place() == scene.where)
    return counts


def sheet(clips: Any, path: Path, columns: int = 8) -> None:
    """Write all pictures on one sheet; of clips, a row each."""
    import numpy as np
    from PIL import Image

    pictures = list(clips.reshape(-1, *clips.shape[2:]))
    columns = clips.shape[1] if clips.shape[1] > 1 else columns
    rows = [
        np.concatenate(pictures[start : start + columns], 1)
        for start in range(0, len(pictures) // columns * columns, columns)
    ]
    Image.fromarray(np.concatenate(rows)).save(path)


def _looked_at(frames: int) -> list[int]:
    return sorted({0, frames // 2, frames - 1})


def _count(
    pairs: list[tuple[Scene, list[judging.Seen]]], fits: Callable[[Scene, judging.Seen], bool]
) -> int:
    return sum(all(fits(scene, seen) for seen in found) for scene, found in pairs)
