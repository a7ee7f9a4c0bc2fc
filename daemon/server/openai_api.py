"""The endpoints of OpenAI's API that its clients use: chat completions, images, models."""

import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

from daemon.job_types import Model
from daemon.server.asking import MODEL_NOT_SERVED, Inference, result_of
from daemon.server.errors import ApiError
from daemon.server.idempotency import Once
from daemon.server.openai_answers import CompletionFrames, completion, images
from daemon.server.openai_requests import (
    CompletionBody,
    ImagesBody,
    image_request,
    quality_of,
    text_request,
)
from daemon.server.requests import check_prompts, checked, refused
from daemon.server.streaming import stream
from daemon.server.text import order_of
from handlers.checking import InvalidRequest

_DRAWING = (Model.SDXL, Model.WAN)


class OpenAiRoutes:
    """The endpoints under `/v1`.

    Args:
        inference: where requests are handed in.
        once: runs a request that is repeated once.
        names: returns the shown name of each model that this worker serves.
        refuse_unknown: refuse fields that aren't known.
        began: when the models came to be, as far as their list tells: Unix seconds.
    """

    def __init__(
        self,
        inference: Inference,
        once: Once,
        names: Callable[[], Mapping[Model, str]],
        *,
        refuse_unknown: bool,
        began: float | None = None,
    ) -> None:
        self._inference = inference
        self._once = once
        self._names = names
        self._refuse_unknown = refuse_unknown
        self._began = int(time.time() if began is None else began)

    def routes(self) -> list[web.RouteDef]:
        """Return what is served."""
        return [
            web.post("/v1/chat/completions", self.completions),
            web.post("/v1/images/generations", self.images),
            web.get("/v1/models", self.models),
            web.get("/v1/models/{name:.+}", self.model),
        ]

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """Answer a conversation."""
        body = await checked(request, CompletionBody, refuse_unknown=self._refuse_unknown)
        self._model_of(body["model"], (Model.CHAT,))
        try:
            wanted = text_request(body)
        except InvalidRequest as error:
            raise refused(str(error)) from None
        order, shown = order_of(request, "generate", wanted), self._names()[Model.CHAT]

        async def answer(request: web.Request) -> web.StreamResponse:
            with self._inference.begin(order) as exchange:
                if body.get("stream"):
                    options = body.get("stream_options") or {}
                    usage = bool(options.get("include_usage"))
                    frames = CompletionFrames(exchange.job_id, shown, with_usage=usage)
                    return await stream(request, exchange, frames)
                result = result_of(await exchange.ended())
                return web.json_response(completion(exchange.job_id, shown, result))

        return await self._once(request, body, answer)

    async def images(self, request: web.Request) -> web.StreamResponse:
        """Draw pictures."""
        body = await checked(request, ImagesBody, refuse_unknown=self._refuse_unknown)
        check_prompts(body)
        inline = body.get("response_format") == "b64_json"
        job_type = f"{self._drawing(body.get('model'))}_image_{quality_of(body)}"
        order = order_of(request, job_type, image_request(body), inline=inline)

        async def answer(_: web.Request) -> web.StreamResponse:
            return web.json_response(images(await self._inference.result(order), inline=inline))

        return await self._once(request, body, answer)

    async def models(self, _request: web.Request) -> web.StreamResponse:
        """List what this worker serves."""
        listed = [self._shown(name) for name in self._names().values()]
        return web.json_response({"object": "list", "data": listed})

    async def model(self, request: web.Request) -> web.StreamResponse:
        """Tell of one model."""
        name = request.match_info["name"]
        return web.json_response(self._shown(self._names()[self._model_of(name, tuple(Model))]))

    def _shown(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._began, "owned_by": "ourvidz"}

    def _drawing(self, name: str | None) -> Model:
        """Return the model to draw with; without a name, the first that there is."""
        if name is not None:
            return self._model_of(name, _DRAWING)
        served = [model for model in _DRAWING if model in self._names()]
        return served[0] if served else _DRAWING[0]

    def _model_of(self, name: str, models: tuple[Model, ...]) -> Model:
        """Return the model of a shown name or of the worker's own; raises 404."""
        names = self._names()
        for model in models:
            if model in names and name in {model.value, names[model]}:
                return model
        message = f'this worker has no model "{name[:100]}" for that; /v1/models lists all'
        raise ApiError(HTTPStatus.NOT_FOUND, message, MODEL_NOT_SERVED)
