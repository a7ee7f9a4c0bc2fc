"""What the inference endpoints take: the schemas that check requests, and that OpenAPI shows.

They widen those of `handlers`, which check the same values again when a request is resolved, with
the model's own bounds: a row of the same content fares the same.
"""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from daemon.jobs import ErrorCode
from daemon.server.bodies import json_body
from daemon.server.errors import ApiError
from handlers.chat_params import ChatFields
from handlers.checking import Fields, InvalidRequest, Text, check, check_length
from handlers.image_params import ImageFields
from handlers.video_params import VideoFields

MOST_PROMPT_CHARS = 1000
"""Of a picture's or film's prompt over HTTP (`worker-api.md`, "Input Validation")."""

UUID_PATTERN = r"^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"

_OF_ROWS = frozenset({"enhanced_prompt"})
"""What would take the prompt's place if it were passed on: over HTTP it isn't known."""

UserId = Annotated[
    str | None,
    Field(
        pattern=UUID_PATTERN,
        description="a UUID",
        examples=["7c9e6679-7425-40de-944b-e07fc1f90ae7"],
    ),
]
Prompt = Annotated[Text, Field(description="text of at most 1,000 characters")]


class _ForUser(Fields):
    user_id: UserId = None
    """For whom it is made: his folder takes the files, and users are served fairly."""


class TextBody(ChatFields, _ForUser):
    """A request for text: `messages`, or one `prompt` (or `message`) with a `system_prompt`."""

    prompt: Text | None = None
    stream: bool = False
    """Answer in pieces, as server-sent events."""


class ChatBody(TextBody):
    """A request for `/chat`: `messages`, or `message` with `system_prompt` and history."""

    conversation_id: Text | None = None
    context_type: Text | None = None
    project_id: Text | None = None


class ImageBody(ImageFields, _ForUser):
    """A request for pictures."""

    prompt: Prompt
    model: Annotated[Literal["sdxl", "wan"], Field(description="sdxl or wan")] = "sdxl"
    quality: Annotated[Literal["fast", "high"], Field(description="fast or high")] = "fast"
    response_format: Annotated[Literal["url", "b64_json"], Field(description="url or b64_json")] = (
        "url"
    )
    """`b64_json`: data URLs, and nothing is stored."""


class VideoBody(VideoFields, _ForUser):
    """A request for a film."""

    prompt: Prompt
    quality: Annotated[Literal["fast", "high"], Field(description="fast or high")] = "fast"
    response_format: Annotated[Literal["url", "b64_json"], Field(description="url or b64_json")] = (
        "url"
    )


async def checked(
    request: web.Request, model: type[Fields], *, refuse_unknown: bool
) -> dict[str, Any]:
    """Return a request's body without what is null, once it is known to be right.

    Raises:
        ApiError: 400 INVALID_PROMPT with a sentence that names the field, and all of `json_body`.
    """
    body = await json_body(request)
    if not isinstance(body, dict):
        raise refused("the body must be a JSON object")
    try:
        check(model, body, refuse_unknown=refuse_unknown)
        if issubclass(model, ImageBody | VideoBody):
            _check_prompts(body)
    except InvalidRequest as error:
        raise refused(str(error)) from None
    return {
        name: value for name, value in body.items() if value is not None and name not in _OF_ROWS
    }


def check_prompts(body: dict[str, Any]) -> None:
    """Refuse a prompt that says nothing, and those that are too long for HTTP.

    Raises:
        ApiError: 400 INVALID_PROMPT.
    """
    try:
        _check_prompts(body)
    except InvalidRequest as error:
        raise refused(str(error)) from None


def _check_prompts(body: dict[str, Any]) -> None:
    check_length("prompt", body["prompt"], MOST_PROMPT_CHARS)
    check_length("negative_prompt", body.get("negative_prompt") or "", MOST_PROMPT_CHARS)
    if not body["prompt"].strip():
        raise InvalidRequest("prompt is blank")


def refused(sentence: str) -> ApiError:
    """Return the error for a request that can't be run as it is."""
    return ApiError(HTTPStatus.BAD_REQUEST, sentence, ErrorCode.INVALID_PROMPT.value)
