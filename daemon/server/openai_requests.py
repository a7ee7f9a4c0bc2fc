"""What the OpenAI-compatible endpoints take, and what becomes of it: a request of the own kind.

What OpenAI's clients can ask for and this worker can't do is refused, not left out of the answer:
tools, several choices, log probabilities. Fields of no consequence here are ignored.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from daemon.server.requests import UUID_PATTERN
from handlers.chat_params import Stop
from handlers.checking import Fields, InvalidRequest, Seed, Text
from handlers.image_params import Guidance, Steps

_STOPS = "a text or a list of at most 4 texts of 1 to 100 characters"
_NOTHING = {"tools", "functions", "logprobs", "top_logprobs", "modalities", "audio", "logit_bias"}
_SIZE = r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$"


class Part(Fields):
    """A part of a message's content; there are only texts."""

    type: Annotated[Literal["text"], Field(description="text")]
    text: Text


class Spoken(Fields):
    """A message; `developer` is OpenAI's newer word for `system`."""

    role: Annotated[
        Literal["system", "developer", "user", "assistant"],
        Field(description="system, developer, user or assistant"),
    ]
    content: Annotated[Text | list[Part], Field(description="text or a list of text parts")]


class StreamOptions(Fields):
    """What a stream shall tell beside the answer."""

    include_usage: Annotated[bool, Field(description="true or false")] = False


class CompletionBody(Fields):
    """A request for `/v1/chat/completions`."""

    model: Text
    messages: Annotated[list[Spoken], Field(min_length=1, description="a list of messages")]
    max_tokens: Annotated[
        int | None, Field(ge=1, le=4096, description="a whole number from 1 to 4096")
    ] = None
    max_completion_tokens: Annotated[
        int | None, Field(ge=1, le=4096, description="a whole number from 1 to 4096")
    ] = None
    temperature: Annotated[
        float | None, Field(ge=0, le=2, allow_inf_nan=False, description="a number from 0 to 2")
    ] = None
    top_p: Annotated[
        float | None,
        Field(gt=0, le=1, allow_inf_nan=False, description="a number above 0, up to 1"),
    ] = None
    n: Annotated[int | None, Field(ge=1, le=1, description="1")] = None
    seed: Seed = None
    stop: Annotated[
        Stop | Annotated[list[Stop], Field(max_length=4)] | None, Field(description=_STOPS)
    ] = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: Text | None = None


class ImagesBody(Fields):
    """A request for `/v1/images/generations`, and what beyond it a picture may have here."""

    prompt: Annotated[Text, Field(description="text of at most 1,000 characters")]
    model: Text | None = None
    n: Annotated[int, Field(ge=1, le=6, description="a whole number from 1 to 6")] = 1
    size: Annotated[
        str, Field(pattern=rf"{_SIZE}|^auto$", description="WIDTHxHEIGHT in pixels, or auto")
    ] = "auto"
    quality: Annotated[
        Literal["auto", "standard", "low", "medium", "high", "hd", "fast"],
        Field(description="auto, standard, low, medium, high, hd or fast"),
    ] = "auto"
    response_format: Annotated[Literal["url", "b64_json"], Field(description="url or b64_json")] = (
        "url"
    )
    user: Text | None = None
    negative_prompt: Text = ""
    steps: Steps = None
    guidance_scale: Guidance | None = None
    seed: Seed = None


def text_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checked completion's request as `/generate` would have it.

    Raises:
        InvalidRequest: it asks for what can't be done here.
    """
    for name in _NOTHING & body.keys():
        if body[name]:
            raise InvalidRequest(f"{name} isn't supported")
    most = body.get("max_completion_tokens", body.get("max_tokens"))
    stop = body.get("stop")
    wanted = {
        "messages": [_message(each) for each in body["messages"]],
        "max_tokens": most,
        "temperature": body.get("temperature"),
        "top_p": body.get("top_p"),
        "seed": body.get("seed"),
        "stop": [stop] if isinstance(stop, str) else stop,
        "user_id": _user_id(body.get("user")),
        "fake": body.get("fake"),
    }
    return {name: value for name, value in wanted.items() if value is not None}


def image_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checked request for pictures as `/generate_image` would have it."""
    wanted = {
        "prompt": body["prompt"],
        "num_images": body.get("n"),
        "negative_prompt": body.get("negative_prompt"),
        "steps": body.get("steps"),
        "guidance_scale": body.get("guidance_scale"),
        "seed": body.get("seed"),
        "user_id": _user_id(body.get("user")),
        "fake": body.get("fake"),
    }
    size = body.get("size", "auto")
    if size != "auto":
        wanted["width"], wanted["height"] = map(int, size.split("x"))
    return {name: value for name, value in wanted.items() if value is not None}


def quality_of(body: Mapping[str, Any]) -> str:
    """Return the worker's own word for a quality."""
    return "high" if body.get("quality") in {"high", "hd"} else "fast"


def _user_id(user: str | None) -> str | None:
    """Return whom OpenAI's `user` names, if it is one of this platform's users."""
    return user if user is not None and re.fullmatch(UUID_PATTERN, user) else None


def _message(spoken: Mapping[str, Any]) -> dict[str, str]:
    content = spoken["content"]
    if not isinstance(content, str):
        content = _joined(content)
    role = "system" if spoken["role"] == "developer" else spoken["role"]
    return {"role": role, "content": content}


def _joined(parts: Sequence[Mapping[str, Any]]) -> str:
    return "".join(part["text"] for part in parts)
