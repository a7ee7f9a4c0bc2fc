"""Strict checks of untrusted JSON, with refusals that are one clear sentence each.

Fields are declared with pydantic; a field's `description` is the middle of its refusal:
"width must be a multiple of 8 from 64 to 2048, not 100".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

SEED_LIMIT = 2**63
_SHOWN = 60

ModelT = TypeVar("ModelT", bound=BaseModel)


class InvalidRequest(Exception):  # noqa: N818 -- the request is at fault, and nothing broke
    """The request can't be run as it is; the message is a sentence for its author."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a request may ask for.

    Attributes:
        prompt_chars: characters of a picture's or film's prompt.
        chat_chars: characters of all messages together.
        video_frames: frames of a film; its memory and time grow with them.
        pixels: of all frames of a film together; its memory grows with them.
        pixel_steps: pixels of all frames or pictures together, times their steps: the time.
        allow_fake: pass the `fake` field on to the fake runner.
    """

    prompt_chars: int = 10_000
    chat_chars: int = 100_000
    video_frames: int = 241
    pixels: int = 250_000_000
    pixel_steps: int = 6_000_000_000
    allow_fake: bool = False


class Fields(BaseModel):
    """Base of all requests: nothing is converted, unknown fields are left alone."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


def checked_text(value: Any) -> Any:
    """Refuse text that a database or a tokenizer can't hold; other types pass on to pydantic."""
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise ValueError("holds a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"holds half of a character (a lone surrogate) at position {error.start}"
        ) from None
    return value


Text = Annotated[str, BeforeValidator(checked_text), Field(description="text")]
Seed = Annotated[
    int | None,
    Field(ge=0, lt=SEED_LIMIT, description="a whole number from 0 to 9223372036854775807"),
]


def check(
    model: type[ModelT], request: Mapping[str, Any], *, refuse_unknown: bool = False
) -> ModelT:
    """Return the request as `model`; raises `InvalidRequest`. Null is the same as absent."""
    given = {name: value for name, value in request.items() if value is not None}
    try:
        return model.model_validate(given, extra="forbid" if refuse_unknown else None)
    except ValidationError as error:
        raise InvalidRequest(_sentence(model, error)) from None


def as_object(request: object) -> Mapping[str, Any]:
    """Return the request as a JSON object; a row without metadata is an empty one."""
    if request is None:
        return {}
    if not isinstance(request, Mapping):
        raise InvalidRequest(f"metadata must be an object, not {_kind(request)}")
    return request


def check_length(field: str, text: str, limit: int) -> str:
    """Return the text; raises `InvalidRequest` if it is longer than `limit` characters."""
    if len(text) > limit:
        raise InvalidRequest(
            f"{field} is {len(text):,} characters long, and at most {limit:,} are allowed"
        )
    return text


def check_work(factors: Mapping[str, int], limits: Limits) -> None:
    """Refuse what would take too long: the factors multiplied are the work.

    Each is within its own bounds by now; a stranger could still ask for the most of all at once.
    """
    work = prod(factors.values())
    if work > limits.pixel_steps:
        named = ", ".join(f"{name} {value}" for name, value in factors.items())
        raise InvalidRequest(
            f"{named} multiply to {work:,}, and at most {limits.pixel_steps:,} are allowed: ask "
            f"for less of one"
        )


def shown(value: object) -> str:
    """Return a value as JSON, shortened, for a refusal."""
    if isinstance(value, int) and abs(value) >= 10**_SHOWN:
        return "a number of more than 60 digits"
    try:
        # Half characters must not reach the message either: ASCII escapes them.
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = _kind(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _sentence(model: type[BaseModel], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = _path(first["loc"])
    if first["type"] == "missing":
        return f"{field} is missing"
    if first["type"] == "extra_forbidden":
        return f"{field} isn't known"
    if first["type"] == "value_error":
        return f"{field} {first['ctx']['error']}"
    allowed = _description(model, first["loc"])
    return f"{field} must be {allowed}, not {shown(first['input'])}"


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


def _description(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Return the description of the field that a location leads to."""
    here: type[BaseModel] | None = model
    described = "something else"
    for part in location:
        if isinstance(part, int):
            described = described if here is None else "an object"
        elif here is not None and part in here.model_fields:
            field = here.model_fields[part]
            described = field.description or _described(field.annotation) or described
            here = _model_in(field.annotation)
    return described


def _described(annotation: Any) -> str | None:
    """Return the description of an annotated type inside a union, such as `Text | None`."""
    for part in get_args(annotation):
        for note in getattr(part, "__metadata__", ()):
            if isinstance(note, FieldInfo) and note.description:
                return note.description
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _kind(value: object) -> str:
    names = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")
