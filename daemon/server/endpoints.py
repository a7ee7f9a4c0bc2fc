"""The endpoints, one by one: the table that OpenAPI is made from. Tests hold it to the routes."""

from collections.abc import Mapping

from daemon.server import samples
from daemon.server.endpoint import (
    EVENTS,
    HTML,
    JSON,
    TEXT,
    Answer,
    Endpoint,
    failing,
)
from daemon.server.job_endpoints import ACCEPTED, IDEMPOTENCY_KEY, JOB_ENDPOINTS, PREFER
from daemon.server.job_endpoints import TAG as JOBS
from daemon.server.openai_endpoints import OPENAI_ENDPOINTS
from daemon.server.openai_endpoints import TAG as OPENAI
from daemon.server.probe_replies import (
    ChatHealthReply,
    HealthReply,
    InfoReply,
    NotReadyReply,
    ReadyReply,
    StatusReply,
)
from daemon.server.replies import (
    ChatReply,
    DebugReply,
    EnhanceReply,
    GenerateReply,
    ImageReply,
    Reply,
    VideoReply,
)
from daemon.server.requests import ChatBody, ImageBody, TextBody, VideoBody

TAGS: Mapping[str, str] = {
    "Text": "The language model. Nothing is added to what the caller sends, changed or left out.",
    "Pictures and films": "Made while the caller waits, or later.",
    OPENAI: "For OpenAI's clients: set their base URL to this server's `/v1`.",
    JOBS: "Rows of the table `jobs`, and what becomes of a request that nobody waits for.",
    "Worker": "Health, status, metrics, and this documentation.",
}

_OWN = failing(500)
_KEYED = failing(401, 429, 500)
_ASKED = failing(400, 401, 404, 408, 409, 413, 415, 422, 429, 500, 503)

_PIECES = ("delta", "end", "error")

_STREAM = (
    "With `stream` the answer comes as server-sent events: `delta` with the next `text`, then "
    "`end` with what would else be the whole answer, or `error` with a failure. A failure before "
    "the first piece has its own status."
)


def _said(description: str, model: type[Reply]) -> Answer:
    return Answer(description, {JSON: model, EVENTS: None}, events=_PIECES)


_TEXT = (
    Endpoint(
        "POST", "/chat", "Text",
        "Answer a conversation",
        "Takes two forms: `messages`, or `message` with `system_prompt` and "
        "`conversation_history`. The answer has the fields of both. A `message` without "
        "`system_prompt` is refused with SYSTEM_PROMPT_MISSING; an empty one means none.\n\n"
        + _STREAM,
        {200: _said("The answer", ChatReply), **_ASKED},
        ChatBody, samples.CHAT, (IDEMPOTENCY_KEY,),
    ),
    Endpoint(
        "POST", "/enhance", "Text",
        "Rewrite a prompt",
        "Rewrites a prompt as the messages ask for.\n\n" + _STREAM,
        {200: _said("The rewritten prompt", EnhanceReply), **_ASKED},
        TextBody, samples.ENHANCE, (IDEMPOTENCY_KEY,),
    ),
    Endpoint(
        "POST", "/generate", "Text",
        "Answer any messages",
        "The same as `/chat`, with another shape of answer.\n\n" + _STREAM,
        {200: _said("The answer", GenerateReply), **_ASKED},
        TextBody, samples.GENERATE, (IDEMPOTENCY_KEY,),
    ),
    Endpoint(
        "POST", "/chat/debug/system-prompt", "Text",
        "See what a conversation becomes",
        "Takes what `/chat` takes. The conversation is really rendered and one token drawn, so "
        "that `no_override_detected` is a proof and not a promise.",
        {200: Answer("What the model was given", {JSON: DebugReply}), **_ASKED},
        ChatBody, samples.DEBUG,
    ),
    Endpoint(
        "GET", "/chat/health", "Text",
        "How chat is",
        "Chat's own health, whatever the other models do. 404 on a worker without chat.",
        {200: Answer("How chat is", {JSON: ChatHealthReply}), **failing(404, 500)},
        open=True,
    ),
    Endpoint(
        "POST", "/chat/unrestricted", "Text",
        "Gone: use /chat",
        "There is one chat for everything: send the conversation with its `system_prompt` to "
        "`/chat`. Answers 410 to every method.",
        {**failing(410), **_KEYED},
        gone=True,
    ),
)  # fmt: skip

_PICTURES = (
    Endpoint(
        "POST", "/generate_image", "Pictures and films",
        "Draw pictures",
        "Draws 1 to 6 pictures with sdxl or wan. `metadata` holds the values that were really "
        "used, a random seed among them. Width, height, steps and number multiplied have a bound.",
        {200: Answer("The pictures", {JSON: ImageReply}), **ACCEPTED, **_ASKED},
        ImageBody, samples.IMAGE, (PREFER, IDEMPOTENCY_KEY),
    ),
    Endpoint(
        "POST", "/generate_video", "Pictures and films",
        "Make a film",
        "Makes an MP4 and a thumbnail. The number of frames is 4n + 1, as near to `duration` as "
        "can be. Frames times pixels have a bound.",
        {200: Answer("The film", {JSON: VideoReply}), **ACCEPTED, **_ASKED},
        VideoBody, samples.VIDEO, (PREFER, IDEMPOTENCY_KEY),
    ),
)  # fmt: skip

_WORKER = (
    Endpoint(
        "GET", "/health", "Worker",
        "How the worker is",
        "200 for as long as the process lives; the body says what is wrong. Waits for neither "
        "GPU nor database.",
        {200: Answer("How it is", {JSON: HealthReply}), **_OWN},
        open=True,
    ),
    Endpoint(
        "GET", "/ready", "Worker",
        "Whether work is taken",
        "For load balancers: 503 while the worker starts or drains, or can't reach the database.",
        {
            200: Answer("It is", {JSON: ReadyReply}),
            503: Answer(
                "It isn't, and why",
                {JSON: NotReadyReply},
                {"Retry-After": "seconds to wait before the next try"},
            ),
            **_OWN,
        },
        open=True,
    ),
    Endpoint(
        "GET", "/status", "Worker",
        "Everything at a glance",
        "Performance, resources, models, devices, scheduler, held jobs, wake-up sources, queue.",
        {200: Answer("The status", {JSON: StatusReply}), **_KEYED},
    ),
    Endpoint(
        "GET", "/worker/info", "Worker",
        "What the worker can do",
        "By its configuration, whatever is loaded now.",
        {200: Answer("What it can do", {JSON: InfoReply}), **_KEYED},
    ),
    Endpoint(
        "GET", "/metrics", "Worker",
        "Metrics for Prometheus",
        "In Prometheus' text format.",
        {200: Answer("All series", {TEXT: None}), **_KEYED},
    ),
    Endpoint(
        "GET", "/openapi.json", "Worker",
        "This document",
        "OpenAPI 3.1. With `If-None-Match` and its `ETag`: 304 while nothing has changed.",
        {
            200: Answer("The document", {JSON: None}, {"ETag": "changes with the document"}),
            304: Answer("It is the one that you have", {}, {"ETag": "as it was"}),
            **_OWN,
        },
        open=True,
    ),
    Endpoint(
        "GET", "/docs", "Worker",
        "This documentation as a page",
        "Plain HTML: no scripts, and nothing from elsewhere.",
        {200: Answer("The page", {HTML: None}), **_OWN},
        open=True,
    ),
)  # fmt: skip

ENDPOINTS: tuple[Endpoint, ...] = (
    *_TEXT,
    *_PICTURES,
    *OPENAI_ENDPOINTS,
    *JOB_ENDPOINTS,
    *_WORKER,
)
"""In the order in which they are shown."""
