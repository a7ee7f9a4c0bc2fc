"""Where a picture or film comes from, written into the file as other programs read it.

    PNG     text chunks: `parameters` (as Stable Diffusion's interfaces write it), `Comment` (JSON),
            `Description`, `Software`, XMP
    JPEG    EXIF: `ImageDescription`, `UserComment` (JSON), `Software`; XMP
    MP4     `description`, `comment` (JSON)

The XMP says that an algorithm made it (IPTC's digital source type). The pixels stay as they are:
nothing is encoded anew.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from handlers import tagging
from handlers.base import ResultFile
from handlers.requests import ImageRequest, VideoRequest

_log = logging.getLogger("handlers.provenance")

SOFTWARE = "ourvidz-worker"

_MADE_BY_A_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    'Iptc4xmpExt:DigitalSourceType="{source}" xmp:CreatorTool="{software}"/>'
    "</rdf:RDF></x:xmpmeta>"
)
_LONGEST_EXIF = 60_000
"""Bytes; a JPEG's segment ends at 65,533."""


def marked(
    file: ResultFile, request: ImageRequest | VideoRequest, notes: Mapping[str, Any], seed: int
) -> ResultFile:
    """Return the file with its provenance; as it is where the request names no job.

    Args:
        file: what was made.
        request: what was asked for, every default filled in.
        notes: what the runner says of the model and the run.
        seed: this file's own.
    """
    if not request.job_id:
        return file
    try:
        data = _tagged(file, request, _facts(request, notes, seed))
    except Exception as error:  # noqa: BLE001 -- a finished film is worth more than its texts
        # Not the error's own words: they may quote the prompt.
        _log.warning("a %s goes without provenance: %s", file.content_type, type(error).__name__)
        return file
    return ResultFile(file.kind, file.content_type, file.extension, data)


def _tagged(
    file: ResultFile, request: ImageRequest | VideoRequest, facts: Mapping[str, Any]
) -> bytes:
    match file.content_type:
        case "image/png":
            return tagging.png(file.data, _texts(request, facts))
        case "image/jpeg":
            return tagging.jpeg(file.data, request.prompt, SOFTWARE, _comment(facts), _xmp())
        case "video/mp4":
            texts = {"description": request.prompt, "comment": _json(facts)}
            return tagging.mp4(file.data, texts)
        case _:
            return file.data


def _facts(
    request: ImageRequest | VideoRequest, notes: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    frames = (
        {"frames": request.frames, "fps": request.fps} if isinstance(request, VideoRequest) else {}
    )
    return {
        "job_id": request.job_id,
        **notes,
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "seed": seed,
        "steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "width": request.width,
        "height": request.height,
        **frames,
        "quality": request.quality,
        "software": SOFTWARE,
    }


def _texts(request: ImageRequest | VideoRequest, facts: Mapping[str, Any]) -> dict[str, str]:
    return {
        "parameters": _parameters(facts),
        "Comment": _json(facts),
        "Description": request.prompt,
        "Software": SOFTWARE,
        "XML:com.adobe.xmp": _xmp(),
    }


def _parameters(facts: Mapping[str, Any]) -> str:
    """Return what Stable Diffusion's interfaces write and read."""
    negative = facts["negative_prompt"]
    lines = [facts["prompt"], *([f"Negative prompt: {negative}"] if negative else [])]
    sampler = [f"Sampler: {facts['scheduler']}"] if facts.get("scheduler") else []
    values = [
        f"Steps: {facts['steps']}",
        *sampler,
        f"CFG scale: {facts['guidance_scale']:g}",
        f"Seed: {facts['seed']}",
        f"Size: {facts['width']}x{facts['height']}",
        f"Model: {facts.get('model_name', facts.get('model', ''))}",
    ]
    return "\n".join([*lines, ", ".join(values)])


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, ensure_ascii=False, default=str)


def _comment(facts: Mapping[str, Any]) -> str:
    """Return the facts in ASCII; without the prompts where these are too long for EXIF."""
    comment = json.dumps(facts, default=str)
    if len(comment) <= _LONGEST_EXIF:
        return comment
    return json.dumps({**facts, "prompt": None, "negative_prompt": None}, default=str)


def _xmp() -> str:
    return _XMP.format(source=_MADE_BY_A_MODEL, software=escape(SOFTWARE))
