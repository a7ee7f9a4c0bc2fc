"""Films with a thumbnail."""

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from handlers.base import Control, ResultFile, RunResult, VideoRunner
from handlers.provenance import marked
from handlers.requests import VideoRequest
from handlers.results import video_result


def video(runner: VideoRunner, params: Mapping[str, Any], control: Control) -> RunResult:
    """Make one film."""
    request = msgspec.convert(params, VideoRequest)
    started = time.monotonic()
    answer = runner.video(request, control)
    seconds = time.monotonic() - started
    files = [
        ResultFile("video", "video/mp4", "mp4", answer.mp4),
        ResultFile(
            "thumbnail", answer.thumbnail_type, answer.thumbnail_extension, answer.thumbnail
        ),
    ]
    notes = {**runner.description(), **answer.notes}
    files = [marked(file, request, notes, request.seed) for file in files]
    fields = video_result(request, notes, seconds)
    return RunResult(fields, files, {"video": seconds})
