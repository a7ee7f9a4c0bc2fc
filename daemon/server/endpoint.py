"""What is said of an endpoint: the entries of the table in `endpoints`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel

from daemon.server.replies import Failure

JSON = "application/json"
EVENTS = "text/event-stream"
TEXT = "text/plain"
HTML = "text/html"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in an endpoint's path, query or headers; `schema` is JSON Schema."""

    name: str
    place: Literal["path", "query", "header"]
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    example: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with one status.

    Attributes:
        description: what it holds, or when it is given.
        content: by media type the model of a JSON body; None: a body that isn't JSON.
        headers: those that always come with it, and what they say.
        events: the names of server-sent events; none: they bear no names.
    """

    description: str
    content: Mapping[str, type[BaseModel] | None] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path.

    Attributes:
        summary: a few words.
        description: what is worth knowing, in plain sentences; paragraphs by blank lines.
        tag: the group that it stands in.
        request: the model that checks its body; None: it takes none.
        examples: of a request's body, by a short name.
        answers: by status; failures that all endpoints have are added by `failing`.
        open: it is answered without a key.
        gone: it only says where to go instead.
    """

    method: str
    path: str
    tag: str
    summary: str
    description: str
    answers: Mapping[int, Answer]
    request: type[BaseModel] | None = None
    examples: Mapping[str, Any] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    open: bool = False
    gone: bool = False


_RETRY_AFTER = {"Retry-After": "seconds to wait before the next try"}

_FAILURES: Mapping[int, tuple[str, Mapping[str, str]]] = {
    HTTPStatus.BAD_REQUEST: (
        "The request is wrong: INVALID_PROMPT, SYSTEM_PROMPT_MISSING or BAD_REQUEST", {},
    ),
    HTTPStatus.UNAUTHORIZED: (
        "UNAUTHORIZED: the key is missing or wrong", {"WWW-Authenticate": "Bearer"},
    ),
    HTTPStatus.NOT_FOUND: ("NOT_FOUND, or MODEL_NOT_SERVED: not by this worker", {}),
    HTTPStatus.REQUEST_TIMEOUT: ("REQUEST_TIMEOUT: the body came too slowly", {}),
    HTTPStatus.CONFLICT: ("CANCELLED, or CONFLICT: the same request is under way", {}),
    HTTPStatus.GONE: ("GONE: the endpoint is no more; the text says where to go", {}),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("PAYLOAD_TOO_LARGE: the body is too large", {}),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("UNSUPPORTED_MEDIA_TYPE: the body isn't JSON", {}),
    HTTPStatus.UNPROCESSABLE_ENTITY: (
        "UNPROCESSABLE: the idempotency key was used for another request; or DATABASE_ERROR", {},
    ),
    HTTPStatus.TOO_MANY_REQUESTS: ("RATE_LIMITED: too many requests of this key", _RETRY_AFTER),
    HTTPStatus.INTERNAL_SERVER_ERROR: (
        "GENERATION_FAILED: the model failed; or INTERNAL_ERROR: a defect of the worker", {},
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "NOT_READY: starting, draining or full; or VRAM_OVERFLOW, MODEL_LOAD_FAILED and such",
        _RETRY_AFTER,
    ),
}  # fmt: skip


def failing(*statuses: int, model: type[BaseModel] = Failure) -> dict[int, Answer]:
    """Return the answers of failures with these statuses, in the one shape or in another."""
    return {
        status: Answer(_FAILURES[status][0], {JSON: model}, _FAILURES[status][1])
        for status in statuses
    }
