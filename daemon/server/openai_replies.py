"""What the OpenAI-compatible endpoints answer, as OpenAPI shows it."""

from typing import Any, Literal

from pydantic import Field

from daemon.server.replies import ImageMetadata, Reply, Usage, absent


class AssistantMessage(Reply):
    """What the model said."""

    role: Literal["assistant"]
    content: str
    refusal: None


class Choice(Reply):
    """The one answer."""

    index: int
    message: AssistantMessage
    logprobs: None
    finish_reason: str = Field(description="stop or length")


class CompletionReply(Reply):
    """A `chat.completion`."""

    id: str
    object: Literal["chat.completion"]
    created: int = Field(description="Unix seconds")
    model: str = Field(description="the model's shown name")
    choices: list[Choice]
    usage: Usage
    system_fingerprint: None


class Picture(Reply):
    """One picture, as `response_format` asks for it."""

    url: str | None = absent("null where the bucket is private and nothing signs")
    b64_json: str = absent("the file in base64")


class ImagesReply(Reply):
    """Pictures."""

    created: int = Field(description="Unix seconds")
    data: list[Picture]
    metadata: ImageMetadata


class ModelReply(Reply):
    """A model that this worker serves."""

    id: str = Field(description="its shown name")
    object: Literal["model"]
    created: int = Field(description="Unix seconds")
    owned_by: str


class ModelsReply(Reply):
    """All models that this worker serves."""

    object: Literal["list"]
    data: list[ModelReply]


class OpenAiError(Reply):
    """A failure as OpenAI's clients read it."""

    message: str = Field(description="a sentence for people")
    type: str = Field(description="invalid_request_error or server_error")
    param: Any
    code: str = Field(description="the error code, in lower case")


class OpenAiFailure(Reply):
    """The shape of failures under `/v1`: the other's fields, but `error` is an object."""

    success: Literal[False]
    error: OpenAiError
    error_code: str = Field(description="a word for programs")
