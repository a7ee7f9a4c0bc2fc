"""Pictures and films: made while the caller waits, or later, as a row like any other."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from aiohttp import web

from daemon.job_types import JOB_TYPES
from daemon.server.asking import Inference
from daemon.server.auth import CALLER
from daemon.server.idempotency import Once, idempotency_key
from daemon.server.requests import ImageBody, VideoBody, checked, refused
from daemon.server.submissions import Submissions
from daemon.server.text import order_of
from handlers.params import InvalidRequest, resolve

_INLINE = "b64_json"
_LATER = "respond-async"


class PictureRoutes:
    """The endpoints of pictures and films.

    Args:
        inference: where requests are handed in that are waited for.
        submissions: where the others become rows.
        once: runs a request that is repeated once.
        refuse_unknown: refuse fields that aren't known.
    """

    def __init__(
        self, inference: Inference, submissions: Submissions, once: Once, *, refuse_unknown: bool
    ) -> None:
        self._inference = inference
        self._submissions = submissions
        self._once = once
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
        if _prefers_later(request):
            if inline:
                raise refused("response_format b64_json can't be had with Prefer: respond-async")
            return await self._accept(request, job_type, body)
        order = order_of(request, job_type, body, inline=inline)

        async def answer(_: web.Request) -> web.StreamResponse:
            result = await self._inference.result(order)
            return web.json_response({"success": True, "status": "success", **result})

        return await self._once(request, body, answer)

    async def _accept(
        self, request: web.Request, job_type: str, body: Mapping[str, Any]
    ) -> web.StreamResponse:
        """Make a row of it: whichever worker has the model will run it."""
        metadata = {name: body[name] for name in body.keys() - {"user_id", "response_format"}}
        _check_row(job_type, metadata)
        user_id = body.get("user_id")
        return await self._submissions.accept(
            job_type,
            metadata,
            caller=request[CALLER],
            user_id=None if user_id is None else UUID(user_id),
            key=idempotency_key(request),
        )


def _check_row(name: str, metadata: Mapping[str, Any]) -> None:
    """Refuse what would fail as a row: whoever asks learns of it now."""
    job_type = JOB_TYPES[name]
    try:
        resolve(job_type.handler, name, job_type.model, job_type.quality, metadata)
    except InvalidRequest as error:
        raise refused(str(error)) from None


def _prefers_later(request: web.Request) -> bool:
    """Say whether the client would rather not wait (RFC 7240)."""
    said = ",".join(request.headers.getall("Prefer", []))
    wishes = (wish.partition(";")[0].strip().lower() for wish in said.split(","))
    return _LATER in wishes
