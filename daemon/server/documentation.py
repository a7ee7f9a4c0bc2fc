"""`GET /openapi.json` and `GET /docs`: made when they are first asked for, and kept."""

import hashlib
import json
from functools import cached_property

from aiohttp import hdrs, web

_KEPT = "no-cache"
"""Browsers may keep it, and ask whether it has changed."""


class Documentation:
    """Answers with what is told of the endpoints.

    Args:
        version: of the worker.
        refuse_unknown: requests with unknown fields are refused.
    """

    def __init__(self, version: str, *, refuse_unknown: bool = False) -> None:
        self._version = version
        self._refuse_unknown = refuse_unknown

    def routes(self) -> list[web.RouteDef]:
        """Return what is served."""
        return [web.get("/openapi.json", self.document), web.get("/docs", self.page)]

    async def document(self, request: web.Request) -> web.Response:
        """Answer with the document, unless the client has it."""
        body = self._document
        tag = hashlib.sha256(body).hexdigest()[:32]
        headers = {hdrs.ETAG: f'"{tag}"', hdrs.CACHE_CONTROL: _KEPT}
        known = request.if_none_match or ()
        if any(each.value in {tag, "*"} for each in known):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers, content_type="application/json")

    async def page(self, _request: web.Request) -> web.Response:
        """Answer with the page."""
        shown, policy = self._page
        headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            hdrs.CACHE_CONTROL: _KEPT,
        }
        return web.Response(text=shown, headers=headers, content_type="text/html")

    @cached_property
    def _document(self) -> bytes:
        # Imported late, as in `_page`: the server answers probes before anybody wants to read.
        from daemon.server.openapi import openapi_document

        document = openapi_document(self._version, refuse_unknown=self._refuse_unknown)
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()

    @cached_property
    def _page(self) -> tuple[str, str]:
        from daemon.server.page import page_of

        return page_of(json.loads(self._document))
