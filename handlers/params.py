"""From a row's or a client's request to a resolved one: checked, and with every default filled in.

Runs in the daemon's process, once per job; imports no model library. What comes out is what the
run uses and what the result echoes.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from handlers.chat_params import text_request
from handlers.checking import InvalidRequest, Limits, as_object
from handlers.image_params import image_request
from handlers.requests import ImageRequest, TextRequest, VideoRequest
from handlers.source import Source
from handlers.video_params import video_request

__all__ = ["InvalidRequest", "Limits", "ResolvedParams", "resolve"]

_RANDOM_SEEDS = 2**32
"""Seeds drawn here survive a JavaScript frontend, whose whole numbers end at 2**53."""

_seeds = random.Random()  # noqa: S311 -- a picture's seed is shown to everybody: no secret

_RESOLVERS: Mapping[str, Callable[[Source], TextRequest | ImageRequest | VideoRequest]] = {
    "chat": text_request,
    "enhance": text_request,
    "generate": text_request,
    "image": image_request,
    "video": video_request,
}


@dataclass(frozen=True, slots=True)
class ResolvedParams:
    """A request that can be run: the handler's name and its request."""

    handler: str
    request: TextRequest | ImageRequest | VideoRequest

    @property
    def params(self) -> dict[str, Any]:
        """The request as plain JSON, as an engine takes it."""
        plain: dict[str, Any] = msgspec.to_builtins(self.request)
        return plain

    def with_prompt(self, prompt: str) -> "ResolvedParams":
        """Return the same picture or film of another prompt, such as an enhanced one."""
        if isinstance(self.request, TextRequest):
            raise TypeError("a conversation has no prompt to replace")
        return replace(self, request=msgspec.structs.replace(self.request, prompt=prompt))


def resolve(  # noqa: PLR0913 -- what a job is, and what it asks for
    handler: str,
    job_type: str,
    model: str,
    quality: str,
    request: object,
    *,
    original_prompt: str | None = None,
    limits: Limits | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> ResolvedParams:
    """Check a request and fill in its defaults.

    Args:
        handler: the name of the code that will run it.
        job_type: the job's type, for messages.
        model: the model family; its grid and defaults apply.
        quality: `fast` or `high`; picks defaults.
        request: untrusted JSON of any type.
        original_prompt: the prompt column that an existing table may have.
        limits: how much the request may ask for.
        defaults: values for what the request leaves open, before the worker's own.

    Raises:
        InvalidRequest: with one sentence that names field, value and what is allowed.
    """
    if handler not in _RESOLVERS:
        raise InvalidRequest(f"there is no handler {handler!r} for job type {job_type!r}")
    source = Source(
        handler=handler,
        model=model,
        quality=quality,
        fields={**(defaults or {}), **_said(request)},
        original_prompt=original_prompt,
        limits=limits or Limits(),
        random_seed=_seeds.randrange(_RANDOM_SEEDS),
    )
    return ResolvedParams(handler, _RESOLVERS[handler](source))


def _said(request: object) -> dict[str, Any]:
    """Return what a request says; null says nothing."""
    return {name: value for name, value in as_object(request).items() if value is not None}
