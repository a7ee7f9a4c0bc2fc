"""`/chat` gives a model exactly what its caller says: on a real server, with an answerer in it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from answerer import AtOnce
from conversations import CONVERSATIONS, Conversation
from hypothesis import HealthCheck, given, settings

from daemon.reporting import DaemonReports
from daemon.server.app import build_app
from daemon.server.desk import Desk
from daemon.server.inference import inference_routes
from daemon.server.replies import ChatReply, DebugReply
from daemon.settings import load_settings
from daemon.telemetry.metrics import Metrics

Client = TestClient[Any, Any]

# The client keeps nothing between two requests.
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    chosen = load_settings(overrides={"models": {"chat": {"runner": "fake"}}})
    answers = AtOnce(chosen)
    reports = DaemonReports(chosen, Metrics(), "1")
    app = build_app(
        reports, api_key=None, routes=inference_routes(lambda: chosen, lambda: answers, Desk())
    )
    async with TestClient(TestServer(app)) as opened:
        yield opened


async def ask(client: Client, path: str, body: dict[str, Any]) -> bytes:
    response = await client.post(path, json=body)
    answer: bytes = await response.read()
    assert response.status == 200, answer
    return answer


def last_event(stream: bytes) -> str:
    """Return the data of a stream's last event."""
    *_, last, _ = stream.decode().split("\n\n")
    kind, _, data = last.partition("\n")
    assert kind == "event: end"
    return data.removeprefix("data: ")


@SHARED
@given(CONVERSATIONS)
async def test_what_goes_in_comes_out(client: Client, conversation: Conversation) -> None:
    """As one answer, in pieces, and in the test of the system prompt: character for character."""
    whole, pieces, debugged = await asyncio.gather(
        ask(client, "/chat", conversation.body),
        ask(client, "/chat", {**conversation.body, "stream": True}),
        ask(client, "/chat/debug/system-prompt", conversation.body),
    )

    spoken = [each for each in conversation.messages if each["role"] != "system"]
    system = [each["content"] for each in conversation.messages if each["role"] == "system"]
    for answer in map(json.loads, (whole, last_event(pieces))):
        assert answer["messages_used"] == conversation.messages
        assert answer["system_prompt_used"] == "\n\n".join(system)
        history = [(each["sender"], each["content"]) for each in answer["conversation_history"]]
        assert history[:-1] == [(each["role"], each["content"]) for each in spoken]
        assert history[-1] == ("assistant", answer["response"])
        ChatReply.model_validate_json(json.dumps(answer))
    debug = DebugReply.model_validate_json(debugged)
    assert [each.model_dump() for each in debug.messages_built] == conversation.messages
