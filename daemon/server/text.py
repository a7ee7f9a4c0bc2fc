"""Chat, enhance and generate: messages in, text out, and nothing else in between."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from uuid import UUID

from aiohttp import web

from daemon.exchanges import Order
from daemon.jobs import ErrorCode
from daemon.server.asking import Inference
from daemon.server.auth import CALLER
from daemon.server.errors import ApiError
from daemon.server.idempotency import Once
from daemon.server.requests import ChatBody, TextBody, checked
from daemon.server.streaming import ChatFrames, stream

MIGRATION = "docs/http-api.md#for-callers-of-the-old-worker"


class TextRoutes:
    """The endpoints of the language model.

    Args:
        inference: where requests are handed in.
        once: runs a request that is repeated once.
        require_system_prompt: a chat's `message` needs a `system_prompt` beside it.
        refuse_unknown: refuse fields that aren't known.
    """

    def __init__(
        self, inference: Inference, once: Once, *, require_system_prompt: bool, refuse_unknown: bool
    ) -> None:
        self._inference = inference
        self._once = once
        self._require_system_prompt = require_system_prompt
        self._refuse_unknown = refuse_unknown

    def routes(self) -> list[web.RouteDef]:
        """Return what is served."""
        return [
            web.post("/chat", self.chat),
            web.post("/enhance", self.enhance),
            web.post("/generate", self.generate),
            web.post("/chat/debug/system-prompt", self.debug),
            web.route("*", "/chat/unrestricted", self.unrestricted),
        ]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer a conversation, in either form."""
        body = await checked(request, ChatBody, refuse_unknown=self._refuse_unknown)
        self._check_system_prompt(body)
        return await self._answer(request, "chat", body)

    async def enhance(self, request: web.Request) -> web.StreamResponse:
        """Rewrite a prompt as the messages ask for."""
        body = await checked(request, TextBody, refuse_unknown=self._refuse_unknown)
        return await self._answer(request, "enhance", body)

    async def generate(self, request: web.Request) -> web.StreamResponse:
        """Answer any messages."""
        body = await checked(request, TextBody, refuse_unknown=self._refuse_unknown)
        return await self._answer(request, "generate", body)

    async def debug(self, request: web.Request) -> web.StreamResponse:
        """Say what a conversation becomes: it is really rendered, and one token drawn."""
        body = await checked(request, ChatBody, refuse_unknown=self._refuse_unknown)
        self._check_system_prompt(body)
        asked = order_of(request, "chat", {**body, "max_tokens": 1, "stream": False})
        result = await self._inference.result(asked)
        return web.json_response(
            {
                "success": True,
                "system_prompt_received": _received(body),
                "system_prompt_used": result["system_prompt_used"],
                "messages_built": result["messages_used"],
                "no_override_detected": result["no_override_detected"],
                "pure_inference_mode": result["no_override_detected"],
                "model_info": result["model_info"],
            }
        )

    async def unrestricted(self, _request: web.Request) -> web.StreamResponse:
        """Say that there is one chat only."""
        raise ApiError(
            HTTPStatus.GONE,
            f"/chat/unrestricted is gone: send the conversation with its system_prompt to /chat; "
            f"see {MIGRATION}",
            "GONE",
        )

    async def _answer(
        self, request: web.Request, job_type: str, body: Mapping[str, Any]
    ) -> web.StreamResponse:
        order = order_of(request, job_type, body)

        async def answer(request: web.Request) -> web.StreamResponse:
            if not body.get("stream"):
                return web.json_response({"success": True, **await self._inference.result(order)})
            with self._inference.begin(order) as exchange:
                return await stream(request, exchange, ChatFrames())

        return await self._once(request, body, answer)

    def _check_system_prompt(self, body: Mapping[str, Any]) -> None:
        """Refuse a message without a system prompt: nobody else would give the model one."""
        if not self._require_system_prompt or body.get("messages"):
            return
        asks = body.get("message") or body.get("prompt")
        if asks is not None and body.get("system_prompt") is None:
            raise ApiError(
                HTTPStatus.BAD_REQUEST,
                "system_prompt is missing: the worker adds none; an empty text means none",
                ErrorCode.SYSTEM_PROMPT_MISSING.value,
            )


def order_of(
    request: web.Request, job_type: str, body: Mapping[str, Any], *, inline: bool = False
) -> Order:
    """Return a checked request as it is handed in."""
    user_id = body.get("user_id")
    return Order(
        job_type=job_type,
        request=body,
        caller=request[CALLER],
        user_id=None if user_id is None else UUID(user_id),
        inline=inline,
    )


def _received(body: Mapping[str, Any]) -> str | None:
    if body.get("messages"):
        said = [each["content"] for each in body["messages"] if each["role"] == "system"]
        return "\n\n".join(said) if said else None
    received: str | None = body.get("system_prompt")
    return received
