"""Requests for pictures."""

from typing import Annotated

from pydantic import Field

from handlers.checking import Fields, InvalidRequest, Seed, Text, check, check_length, check_work
from handlers.requests import ImageRequest
from handlers.source import Source

_STEPS = {"fast": 20, "high": 40}
_GRID = {"sdxl": 8}
_WAN_GRID = 16
"""Wan's autoencoder halves three times and its transformer takes patches of two."""

Steps = Annotated[int | None, Field(ge=1, le=150, description="a whole number from 1 to 150")]
Guidance = Annotated[
    float, Field(ge=0, le=30, allow_inf_nan=False, description="a number from 0 to 30")
]
Side = Annotated[int, Field(ge=64, le=2048, description="a multiple of 8 from 64 to 2048")]


class ImageFields(Fields):
    """What a request for pictures may say beside its prompt. Sizes are pixels."""

    negative_prompt: Text = ""
    width: Side = 1024
    height: Side = 1024
    steps: Steps = None
    guidance_scale: Guidance = 5.0
    seed: Seed = None
    num_images: Annotated[int, Field(ge=1, le=6, description="a whole number from 1 to 6")] = 1


def image_request(source: Source) -> ImageRequest:
    """Return the resolved request for pictures."""
    image = check(ImageFields, source.fields)
    check_side("width", image.width, source.model)
    check_side("height", image.height, source.model)
    limit = source.limits.prompt_chars
    steps = image.steps or _STEPS.get(source.quality, _STEPS["fast"])
    check_work(
        {"width": image.width, "height": image.height, "images": image.num_images, "steps": steps},
        source.limits,
    )
    return ImageRequest(
        prompt=check_length("prompt", source.required_prompt(), limit),
        negative_prompt=check_length("negative_prompt", image.negative_prompt, limit),
        width=image.width,
        height=image.height,
        steps=steps,
        guidance_scale=float(image.guidance_scale),
        seed=source.seed(image.seed),
        num_images=image.num_images,
        quality=source.quality,
        fake=source.fake(),
    )


def check_side(name: str, pixels: int, model: str) -> None:
    """Refuse a width or height that the model's grid doesn't fit."""
    grid = _GRID.get(model, _WAN_GRID)
    if pixels % grid:
        raise InvalidRequest(
            f"{name} must be a multiple of {grid} from 64 to 2048 for {model}, not {pixels}"
        )
