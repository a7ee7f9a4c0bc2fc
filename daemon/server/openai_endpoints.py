"""The OpenAI-compatible endpoints in the table of `endpoints`."""

from daemon.server import samples
from daemon.server.endpoint import EVENTS, JSON, Answer, Endpoint, Parameter, failing
from daemon.server.job_endpoints import IDEMPOTENCY_KEY
from daemon.server.openai_replies import (
    CompletionReply,
    ImagesReply,
    ModelReply,
    ModelsReply,
    OpenAiFailure,
)
from daemon.server.openai_requests import CompletionBody, ImagesBody

TAG = "OpenAI-compatible"

_ASKED = failing(400, 401, 404, 408, 409, 413, 415, 422, 429, 500, 503, model=OpenAiFailure)
_KEYED = failing(401, 429, 500, model=OpenAiFailure)

OPENAI_ENDPOINTS = (
    Endpoint(
        "POST", "/v1/chat/completions", TAG,
        "Answer a conversation",
        "As OpenAI's clients ask and read it. What the worker can't do is refused, not left out: "
        "tools, several choices, log probabilities.\n\n"
        "With `stream` the answer comes as chunks, and `[DONE]` at its end.",
        {200: Answer("The answer", {JSON: CompletionReply, EVENTS: None}), **_ASKED},
        CompletionBody, samples.COMPLETION, (IDEMPOTENCY_KEY,),
    ),
    Endpoint(
        "POST", "/v1/images/generations", TAG,
        "Draw pictures",
        "As OpenAI's clients ask and read it. Without a model the first that draws is taken.",
        {200: Answer("The pictures", {JSON: ImagesReply}), **_ASKED},
        ImagesBody, samples.IMAGES, (IDEMPOTENCY_KEY,),
    ),
    Endpoint(
        "GET", "/v1/models", TAG,
        "List the models",
        "Those that this worker serves, whatever is loaded now.",
        {200: Answer("The models", {JSON: ModelsReply}), **_KEYED},
    ),
    Endpoint(
        "GET", "/v1/models/{name}", TAG,
        "Look at a model",
        "By its shown name, or by the worker's own: `chat`, `sdxl`, `wan`, `video`.",
        {
            200: Answer("The model", {JSON: ModelReply}),
            **failing(404, model=OpenAiFailure),
            **_KEYED,
        },
        parameters=(Parameter("name", "path", "The model's name."),),
    ),
)  # fmt: skip
