"""Pictures and films: made while the caller waits, or later, as a row like any other."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from daemon.server.asking import Inference
from daemon.server.requests import ImageBody, VideoBody, checked
from daemon.server.text import order_of

_INLINE = "b64_json"


class PictureRoutes:
    """The endpoints of pictures and films.

    Args:
        inference: where requests are handed in.
        refuse_unknown: refuse fields that aren't known.
    """

    def __init__(self, inference: Inference, *, refuse_unknown: bool) -> None:
        self._inference = inference
        self._refuse_unknown = refuse_unknown

    def routes(self) -> list[web.RouteDef]:
        """Return what is served."""
        return [
            web.post("/generate_image", self.image),
            web.post("/generate_video", self.video),
        ]

    async def image(self, request: web.Request) -> web.StreamResponse:
        """Draw pictures."""
        body = await checked(request, ImageBody, refuse_unknown=self._refuse_unknown)
        job_type = f"{body.get('model') or 'sdxl'}_image_{body.get('quality') or 'fast'}"
        return await self._answer(request, job_type, body)

    async def video(self, request: web.Request) -> web.StreamResponse:
        """Make a film."""
        body = await checked(request, VideoBody, refuse_unknown=self._refuse_unknown)
        return await self._answer(request, f"video_{body.get('quality') or 'fast'}", body)

    async def _answer(
        self, request: web.Request, job_type: str, body: Mapping[str, Any]
    ) -> web.StreamResponse:
        inline = body.get("response_format") == _INLINE
        order = order_of(request, job_type, body, inline=inline)
        result = await self._inference.result(order)
        return web.json_response({"success": True, "status": "success", **result})
