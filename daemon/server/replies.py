"""What is answered, as OpenAPI shows it: text, pictures, jobs, failures; see also `probe_replies`.

The answers themselves are made in `handlers.results`, `daemon.results` and beside the routes; tests
hold both together. A field without a default is always there; one that is `absent` may be missing.
"""

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict


class Reply(BaseModel):
    """Base of all answers: further fields may be added, so clients must leave them alone."""

    model_config = ConfigDict(extra="allow", strict=True)


def absent(description: str | None = None, **bounds: Any) -> Any:
    """Return a field that may be missing, which isn't the same as null."""
    return Field(
        default=None, description=description, json_schema_extra=_without_default, **bounds
    )


def _without_default(schema: JsonDict) -> None:
    schema.pop("default", None)


class Message(Reply):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Entry(Reply):
    """One entry of a history; system messages aren't among them."""

    sender: Literal["user", "assistant"]
    content: str


class ModelInfo(Reply):
    """The model that answered."""

    model_name: str
    model_loaded: bool
    architecture: str


class Usage(Reply):
    """Tokens that were read and written."""

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    total_tokens: int = Field(ge=0)


class TextParameters(Reply):
    """The values that were really used."""

    max_tokens: int
    temperature: float
    top_p: float
    seed: int = Field(description="drawn at random if none was given")
    stop: list[str] = absent()


class Timings(Reply):
    """Where the time went, seconds that add up to all of it."""

    wake_up: float
    queue: float
    vram: float
    switch: float
    load: float
    run: float
    upload: float


class _Text(Reply):
    success: Literal[True]
    messages_used: list[Message] = Field(description="exactly what the model was given")
    no_override_detected: bool = Field(
        description="proven for this answer: the model's prompt held the caller's messages alone"
    )
    model_info: ModelInfo
    processing_time: float = Field(ge=0, description="seconds of generation")
    usage: Usage
    finish_reason: str = Field(description="stop: it was finished; length: max_tokens came first")
    parameters: TextParameters
    timings: Timings


class ChatReply(_Text):
    """An answer of `/chat`, the same for both forms of request."""

    response: str
    conversation_history: list[Entry] = Field(description="the answer is its last entry")
    system_prompt_used: str = Field(description="empty where the caller sent none")


class EnhanceReply(_Text):
    """An answer of `/enhance`."""

    enhanced_prompt: str


class GenerateReply(_Text):
    """An answer of `/generate`; both fields hold the same text."""

    response: str
    generated_text: str


class DebugReply(Reply):
    """What a conversation becomes: it is really rendered, and one token drawn."""

    success: Literal[True]
    system_prompt_received: str | None = Field(description="null where none was sent")
    system_prompt_used: str
    messages_built: list[Message]
    no_override_detected: bool
    pure_inference_mode: bool
    model_info: ModelInfo


class StoredFile(Reply):
    """A stored file."""

    kind: Literal["image", "video", "thumbnail"]
    bucket: str = Field(description="empty where the file is in its URL")
    path: str
    url: str | None = Field(description="null where the bucket is private and nothing signs")
    content_type: str
    size: int = Field(ge=0, description="bytes")


class PictureMetadata(Reply):
    """The values that were really used; the model's own notes stand beside them."""

    model: str
    model_name: str
    prompt: str
    negative_prompt: str
    seed: int
    steps: int
    width: int = Field(description="pixels")
    height: int = Field(description="pixels")
    guidance_scale: float
    quality: Literal["fast", "high"]
    generation_time: float = Field(ge=0, description="seconds")
    saving: str = absent("how memory was saved, after it had run out")


class ImageMetadata(PictureMetadata):
    """Of pictures."""

    num_images: int
    seeds: list[int] = Field(description="one for each picture")


class VideoMetadata(PictureMetadata):
    """Of a film."""

    duration: float = Field(description="seconds, as its frames make it")
    fps: int
    frames: int


class _Pictures(Reply):
    success: Literal[True]
    status: Literal["success"]
    artifacts: list[StoredFile]
    timings: Timings


class ImageReply(_Pictures):
    """An answer of `/generate_image`."""

    image_url: str | None = Field(description="of the first picture; a data URL with b64_json")
    metadata: ImageMetadata


class VideoReply(_Pictures):
    """An answer of `/generate_video`."""

    video_url: str | None = Field(description="of the MP4; a data URL with b64_json")
    thumbnail_url: str | None
    metadata: VideoMetadata


class AcceptedReply(Reply):
    """A request became a job: it is answered there."""

    success: Literal[True]
    job_id: UUID
    status: str
    status_url: str = Field(description="path of the job")
    events_url: str = Field(description="path of its events")


class JobReply(Reply):
    """A job as its row has it; what doesn't apply is null. Times are ISO 8601 in UTC."""

    job_id: UUID
    job_type: str
    status: str = Field(description="queued, processing, completed, failed or cancelled")
    progress: int = Field(ge=0, le=100, description="percent")
    current_step: str | None
    estimated_completion: AwareDatetime | None
    result: Any
    error: str | None
    error_code: str | None
    attempts: int
    max_attempts: int
    created_at: AwareDatetime | None
    started_at: AwareDatetime | None
    completed_at: AwareDatetime | None
    timings: Timings | None = Field(description="since it was queued, as far as it has come")


class CancelReply(Reply):
    """What a job's status is after its cancellation was asked for."""

    job_id: UUID
    status: str = Field(description="cancelled, or how it had ended before")


class Failure(Reply):
    """The one shape of failures."""

    success: Literal[False]
    error: str = Field(description="a sentence for people")
    error_code: str = Field(description="a word for programs")
