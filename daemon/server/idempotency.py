"""The header `Idempotency-Key`: a request that is sent twice is run once.

After draft-ietf-httpapi-idempotency-key-header. A key belongs to its caller, and to one request:
its method, address and body. What is answered to a repeat:

    the first one was answered with 2xx    the same again, with `Idempotency-Replayed: true`
    it is under way                        409 CONFLICT, with `Retry-After`
    it failed, or was cancelled            it is run again
    it was another request                 422 UNPROCESSABLE

Answers are kept in this worker's memory, for a day at most, and fewer when there are many: a repeat
that reaches another worker, or comes after a restart, is run again. Streamed answers and very large
ones aren't kept.
"""

import hashlib
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs, web

from daemon.server.auth import CALLER
from daemon.server.errors import ApiError, Handler
from daemon.server.replays import Kept, Replays, Standing

KEY = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

LONGEST_KEY = 255
"""Characters."""

RETRY_AFTER_S = 2
"""What a caller is told to wait while the first request is under way."""

_BARE = re.compile(r"[!#-\[\]-~]+")
"""Visible ASCII without quotation mark and backslash."""
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')
"""A structured field's string, as the draft has it."""


def idempotency_key(request: web.Request) -> str | None:
    """Return a request's key, with or without the quotation marks that the draft asks for.

    Raises:
        ApiError: there are several, or it is empty, too long or not printable ASCII (400).
    """
    sent = request.headers.getall(KEY, [])
    if not sent:
        return None
    if len(sent) > 1:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"{KEY} was sent more than once")
    text = sent[0].strip()
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if not quoted and not _BARE.fullmatch(text):
        raise ApiError(
            HTTPStatus.BAD_REQUEST, f"{KEY} must be printable ASCII, such as a random UUID"
        )
    if len(key) > LONGEST_KEY:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            f"{KEY} is {len(key)} characters long; the limit is {LONGEST_KEY}",
        )
    return key


Once = Callable[[web.Request, Mapping[str, Any], Handler], Awaitable[web.StreamResponse]]
"""Takes a request, its checked body, and who answers it."""


def once_for_all(idempotency: "Idempotency") -> Once:
    """Return what runs requests once that are the same JSON, whatever the order of its fields."""

    async def once(
        request: web.Request, body: Mapping[str, Any], handler: Handler
    ) -> web.StreamResponse:
        same = json.dumps(body, sort_keys=True).encode()
        return await idempotency.once(request, request[CALLER], same, handler)

    return once


class Idempotency:
    """Runs requests once; one for all routes of the server.

    Args:
        clock: monotonic seconds.
        replays: where answers are kept.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, replays: Replays | None = None
    ) -> None:
        self._replays = Replays(clock) if replays is None else replays

    async def once(
        self, request: web.Request, caller: str, body: bytes, handler: Handler
    ) -> web.StreamResponse:
        """Answer by the handler, or as it was answered before.

        Args:
            request: what is answered; without a key the handler is simply called.
            caller: the name of the API key that was shown.
            body: as it came.
            handler: answers; it isn't called for a repeat.

        Raises:
            ApiError: the key is malformed (400), its request under way (409) or another (422).
        """
        key = idempotency_key(request)
        if key is None:
            return await handler(request)
        name = caller, key
        standing = self._replays.begin(name, _fingerprint(request, body))
        if isinstance(standing, Kept):
            return _again(standing)
        if standing is not Standing.NEW:
            raise _refusal(standing)
        answer = None
        try:
            response = await handler(request)
            answer = _kept(response)
        finally:
            self._replays.end(name, answer)
        return response


def _fingerprint(request: web.Request, body: bytes) -> bytes:
    # No method and no address has a line break.
    address = f"{request.method}\n{request.raw_path}\n"
    return hashlib.sha256(address.encode(errors="surrogateescape") + body).digest()


def _refusal(standing: Standing) -> ApiError:
    if standing is Standing.OTHER:
        return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"the {KEY} was used for another request")
    return ApiError(
        HTTPStatus.CONFLICT,
        f"the request with this {KEY} is still under way",
        headers={hdrs.RETRY_AFTER: str(RETRY_AFTER_S)},
    )


def _kept(response: web.StreamResponse) -> Kept | None:
    """Return what can be given again; None: a failure, or an answer that wasn't made in one."""
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return None
    if response.prepared:
        # Its handler has sent it: its headers are those of one message, such as its encoding.
        return None
    if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    return Kept(response.status, dict(response.headers), response.body)


def _again(kept: Kept) -> web.Response:
    headers = {**kept.headers, REPLAYED: "true"}
    return web.Response(status=kept.status, headers=headers, body=kept.body)
