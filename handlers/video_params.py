"""Requests for films."""

from typing import Annotated

from pydantic import Field

from handlers.checking import (
    Fields,
    InvalidRequest,
    Limits,
    Seed,
    Text,
    check,
    check_length,
    check_work,
)
from handlers.image_params import Guidance, Side, Steps, check_side
from handlers.requests import VideoRequest
from handlers.source import Source

_STEPS = {"fast": 25, "high": 50}
_GROUP = 4
"""Wan's autoencoder packs four frames into one latent; the first frame stands alone."""


class VideoFields(Fields):
    """What a request for a film may say beside its prompt. Sizes are pixels, `duration` seconds."""

    negative_prompt: Text = ""
    width: Side = 512
    height: Side = 512
    steps: Steps = None
    guidance_scale: Guidance = 5.0
    seed: Seed = None
    duration: Annotated[
        float,
        Field(
            gt=0, le=60, allow_inf_nan=False, description="a number of seconds above 0, up to 60"
        ),
    ] = 5
    fps: Annotated[int, Field(ge=1, le=60, description="a whole number from 1 to 60")] = 24


def video_request(source: Source) -> VideoRequest:
    """Return the resolved request for a film."""
    video = check(VideoFields, source.fields)
    check_side("width", video.width, source.model)
    check_side("height", video.height, source.model)
    limit = source.limits.prompt_chars
    steps = video.steps or _STEPS.get(source.quality, _STEPS["fast"])
    frames = _frames(video, source.limits)
    check_work(
        {"width": video.width, "height": video.height, "frames": frames, "steps": steps},
        source.limits,
    )
    return VideoRequest(
        prompt=check_length("prompt", source.required_prompt(), limit),
        negative_prompt=check_length("negative_prompt", video.negative_prompt, limit),
        width=video.width,
        height=video.height,
        steps=steps,
        guidance_scale=float(video.guidance_scale),
        seed=source.seed(video.seed),
        frames=frames,
        fps=video.fps,
        quality=source.quality,
        fake=source.fake(),
    )


def _frames(video: VideoFields, limits: Limits) -> int:
    """Return the number of frames, 4n + 1, that is nearest to the duration."""
    frames = _GROUP * max(1, round(video.duration * video.fps / _GROUP)) + 1
    most = min(limits.video_frames, limits.pixels // (video.width * video.height))
    if frames > most:
        raise InvalidRequest(
            f"duration {video.duration:g} s at {video.fps} fps makes {frames} frames, and at "
            f"most {most} of {video.width}x{video.height} are allowed"
        )
    return frames
