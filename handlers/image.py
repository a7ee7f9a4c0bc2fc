"""Pictures: one after the other, each with a seed of its own."""

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from handlers.base import Control, ImageRunner, ResultFile, RunResult
from handlers.part import Part
from handlers.provenance import marked
from handlers.requests import ImageRequest
from handlers.results import image_result

SEEDS = 2**63
"""Seeds are 0 to one below this."""


def image(runner: ImageRunner, params: Mapping[str, Any], control: Control) -> RunResult:
    """Draw `num_images` pictures.

    Not as one batch: a picture would then depend on how many were asked for, and the memory that
    a run takes as well.
    """
    request = msgspec.convert(params, ImageRequest)
    seeds = [(request.seed + number) % SEEDS for number in range(request.num_images)]
    started = time.monotonic()
    files, notes = [], dict(runner.description())
    for number, seed in enumerate(seeds):
        answer = runner.image(request, seed, Part(control, number, len(seeds)))
        notes |= answer.notes
        file = ResultFile("image", "image/png", "png", answer.png)
        files.append(marked(file, request, notes, seed))
    seconds = time.monotonic() - started
    fields = image_result(request, notes, seeds, seconds)
    return RunResult(fields, files, {"images": seconds})
