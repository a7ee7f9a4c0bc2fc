"""Results in the shapes that OpenAI's clients read. Pure but for the time of day."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from daemon.server.errors import ApiError, openai_error
from daemon.server.streaming import event


def completion(job_id: UUID, model: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `chat.completion`."""
    message = {"role": "assistant", "content": result["response"], "refusal": None}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": result["finish_reason"],
    }
    return {
        "id": _id_of(job_id),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
        "usage": result["usage"],
        "system_fingerprint": None,
    }


def images(result: Mapping[str, Any], *, inline: bool) -> dict[str, Any]:
    """Return pictures as URLs or as base64."""
    urls = [each["url"] for each in result["artifacts"] if each["kind"] == "image"]
    data = [{"b64_json": url.partition(",")[2]} if inline else {"url": url} for url in urls]
    return {"created": int(time.time()), "data": data, "metadata": result["metadata"]}


class CompletionFrames:
    """A stream of `chat.completion.chunk`, with `[DONE]` at its end.

    Args:
        job_id: of the request; every chunk bears it.
        model: its shown name.
        with_usage: tell the tokens in a last chunk, as `stream_options.include_usage` asks.
    """

    def __init__(self, job_id: UUID, model: str, *, with_usage: bool) -> None:
        self._head = {
            "id": _id_of(job_id),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": None,
        }
        self._with_usage = with_usage

    def opening(self) -> bytes:
        """Say who speaks."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def piece(self, text: str) -> bytes:
        """Return a piece of the answer."""
        return self._chunk({"content": text})

    def end(self, result: Mapping[str, Any]) -> bytes:
        """Say why the answer ended, and what it took."""
        last = self._chunk({}, result["finish_reason"])
        if self._with_usage:
            last += event({**self._head, "choices": [], "usage": result["usage"]})
        return last + event("[DONE]")

    def failure(self, error: ApiError) -> bytes:
        """Return an error, which OpenAI's clients raise."""
        return event(openai_error(error.body(), error.status))

    def _chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        # Where the usage is wanted, every other chunk says that it hasn't come yet.
        usage = {"usage": None} if self._with_usage else {}
        return event({**self._head, "choices": [choice], **usage})


def _id_of(job_id: UUID) -> str:
    return f"chatcmpl-{job_id.hex}"
