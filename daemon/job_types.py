"""Job type to model, quality and handler: the one table that intake, scheduler and server share."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Model(StrEnum):
    """One family's weights."""

    CHAT = "chat"
    SDXL = "sdxl"
    WAN = "wan"
    VIDEO = "video"


class Quality(StrEnum):
    """How much time and memory a job may take."""

    FAST = "fast"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class JobType:
    """What a job type asks for. `handler` names the code in `handlers`."""

    name: str
    model: Model
    quality: Quality
    handler: str
    enhanced: bool = False
    """The chat model rewrites the prompt first."""


def _qualities(prefix: str, model: Model, handler: str, suffix: str = "") -> list[JobType]:
    return [
        JobType(f"{prefix}_{quality}{suffix}", model, quality, handler, enhanced=bool(suffix))
        for quality in Quality
    ]


_ALL = [
    JobType("chat", Model.CHAT, Quality.FAST, "chat"),
    JobType("enhance", Model.CHAT, Quality.FAST, "enhance"),
    JobType("generate", Model.CHAT, Quality.FAST, "generate"),
    *_qualities("sdxl_image", Model.SDXL, "image"),
    *_qualities("wan_image", Model.WAN, "image"),
    *_qualities("video", Model.VIDEO, "video"),
    # The names that the platform's existing frontend writes.
    *_qualities("image", Model.WAN, "image"),
    *_qualities("image7b", Model.WAN, "image", "_enhanced"),
    *_qualities("video7b", Model.VIDEO, "video", "_enhanced"),
    *_qualities("wan_video", Model.VIDEO, "video"),
]

JOB_TYPES = MappingProxyType({job_type.name: job_type for job_type in _ALL})
"""Every job type by name; `known_job_types()` in SQL lists the same names."""


def job_types_of(models: frozenset[Model]) -> tuple[str, ...]:
    """Return the names of the job types that the given models serve, in table order."""
    return tuple(name for name, job_type in JOB_TYPES.items() if job_type.model in models)
