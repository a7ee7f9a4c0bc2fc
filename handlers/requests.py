"""Resolved requests: every value checked and every default filled in. Pure data.

The daemon makes them (`params.resolve`), sends them to the engine as plain JSON, and the engine's
handlers read them back; the values in them are the ones that the result echoes.
"""

from collections.abc import Mapping
from typing import Any

import msgspec


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message of a conversation, exactly as the caller wrote it."""

    role: str
    content: str


class TextRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Messages for a language model.

    Attributes:
        temperature: 0 picks the likeliest token always.
        top_p: the smallest set of tokens with this probability together is drawn from.
        seed: of the drawing.
        stop: texts before which the answer ends.
        fake: instructions for the fake runner.
    """

    messages: list[Message]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    stop: list[str] = []
    fake: Mapping[str, Any] = {}


class ImageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt for pictures; picture n is drawn with `seed + n`. Sizes are pixels.

    `saving` is a `handlers.base.Saving`; `job_id` is written into the files, empty: nothing is.
    """

    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance_scale: float
    seed: int
    num_images: int
    quality: str
    saving: int = 0
    job_id: str = ""
    fake: Mapping[str, Any] = {}


class VideoRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt for a film of `frames` pictures at `fps` a second. Sizes are pixels.

    `saving` is a `handlers.base.Saving`; `job_id` is written into the files, empty: nothing is.
    """

    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance_scale: float
    seed: int
    frames: int
    fps: int
    quality: str
    saving: int = 0
    job_id: str = ""
    fake: Mapping[str, Any] = {}
