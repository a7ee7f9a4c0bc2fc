"""What a request gets that doesn't say, by quality, as the operator wants it.

A distilled checkpoint (turbo, lightning, LCM) wants four steps and hardly any guidance. Numbers
only: the worker adds no words to what it is given.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from handlers.image_params import Guidance, Side, Steps

_PICTURES = frozenset({"steps", "guidance_scale", "width", "height"})
_FIELDS: Mapping[str, frozenset[str]] = {
    "chat": frozenset({"max_tokens", "temperature", "top_p"}),
    "sdxl": _PICTURES,
    "wan": _PICTURES,
    "video": _PICTURES | {"duration", "fps"},
}
_SIDE_STEP = 16
"""Fits every model's grid."""


class Defaults(BaseModel):
    """One quality's defaults; None: the worker's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Steps = None
    """Denoising steps."""
    guidance_scale: Guidance | None = None
    """How closely the prompt is followed."""
    width: Annotated[Side, Field(multiple_of=_SIDE_STEP)] | None = None
    """Pixels, a multiple of 16."""
    height: Annotated[Side, Field(multiple_of=_SIDE_STEP)] | None = None
    """Pixels, a multiple of 16."""
    duration: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)] | None = None
    """Seconds of film."""
    fps: Annotated[int, Field(ge=1, le=60)] | None = None
    """Frames a second."""
    max_tokens: Annotated[int, Field(ge=1, le=4096)] | None = None
    """The longest answer."""
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    """How freely the model speaks; 0: always the same."""
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """Only the likeliest words that come to this share."""

    def given(self) -> dict[str, Any]:
        """Return those that are set."""
        return self.model_dump(exclude_none=True)

    def misplaced(self, model: str) -> Iterator[str]:
        """Yield what a family's requests don't have, each as `name: sentence`."""
        known = _FIELDS.get(model, frozenset())
        for name in sorted(self.given().keys() - known):
            yield f"{name}: requests for {model} have no {name}, only {', '.join(sorted(known))}"
