"""Broadcast by HTTP: messages of those who hold no websocket."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from devstack.realtime.tokens import Credentials, TokenError, Verifier
from devstack.realtime.topics import Topics

MayWrite = Callable[[str, Credentials], Awaitable[bool]]
TooMuch = Callable[[int, int], int | None]


class HttpBroadcast:
    """The handlers of `/api/broadcast`.

    Args:
        verifier: Accepts keys.
        topics: Where messages go.
        may_write: Asks the policies whether somebody may send to a private topic.
        too_much: Counts messages, and returns the status that refuses so many of such a size.
    """

    def __init__(
        self, verifier: Verifier, topics: Topics, may_write: MayWrite, too_much: TooMuch
    ) -> None:
        self._verifier = verifier
        self._topics = topics
        self._may_write = may_write
        self._too_much = too_much

    async def send_many(self, request: web.Request) -> web.Response:
        """Send the `messages` of the body; none if one of them isn't understood."""
        who = self._who(request)
        body = await _json(request)
        messages = body.get("messages") if isinstance(body, dict) else None
        if not isinstance(messages, list) or not all(map(_is_message, messages)):
            raise _unprocessable()
        self._check([message["payload"] for message in messages])
        for message in messages:
            await self._send(who, message["topic"], message["event"], message["payload"], message)
        return web.Response(status=202)

    async def send_one(self, request: web.Request) -> web.Response:
        """Send the body as the payload of the event that the path names."""
        who = self._who(request)
        topic, event = request.match_info["topic"], request.match_info["event"]
        private = request.query.get("private") == "true"
        payload = await _json(request)
        self._check([payload])
        await self._send(who, topic, event, payload, {"private": private})
        return web.Response(status=202)

    def _check(self, payloads: list[Any]) -> None:
        largest = max((len(msgspec.json.encode(payload)) for payload in payloads), default=0)
        match self._too_much(len(payloads), largest):
            case None:
                return
            case 429:
                text = '{"message":"You have exceeded your rate limit"}'
                raise web.HTTPTooManyRequests(text=text, content_type="application/json")
            case _:
                raise _unprocessable("Payload size exceeds tenant limit")

    async def _send(
        self, who: Credentials, topic: str, event: str, payload: Any, options: dict[str, Any]
    ) -> None:
        private = options.get("private") is True
        # Like the real server: what a key may not send is dropped, and nobody is told.
        if not private or await self._may_write(topic, who):
            message = {"event": event, "payload": payload, "type": "broadcast"}
            self._topics.send((topic, private), "broadcast", message)

    def _who(self, request: web.Request) -> Credentials:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            return self._verifier.verify_key(bearer or request.headers.get("apikey"))
        except TokenError as refused:
            raise web.HTTPUnauthorized(
                text=f'{{"message":"{refused.handshake}"}}', content_type="application/json"
            ) from refused


def _is_message(message: Any) -> bool:
    match message:
        case {"topic": str(), "event": str(), "payload": dict()}:
            return True
    return False


async def _json(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError as error:
        raise _unprocessable() from error


def _unprocessable(why: str = "is invalid") -> web.HTTPUnprocessableEntity:
    return web.HTTPUnprocessableEntity(
        text=f'{{"errors":{{"messages":["{why}"]}}}}', content_type="application/json"
    )
