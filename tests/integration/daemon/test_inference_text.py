"""Text over HTTP from a whole daemon: what goes in, what comes out, and what is refused."""

import json
from typing import Any

import httpx
import pytest
from asking import post

pytestmark = pytest.mark.asyncio(loop_scope="session")

SAID = {"role": "user", "content": "x"}


async def test_messages_come_out_as_they_went_in(client: httpx.AsyncClient) -> None:
    messages = [
        {"role": "system", "content": "  Be brief.  "},
        {"role": "user", "content": "Grüße, 世界 👋"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "Again"},
    ]
    status, answer = await post(client, "/chat", messages=messages, max_tokens=5)
    assert status == httpx.codes.OK
    assert answer["success"] is True
    assert answer["messages_used"] == messages
    assert answer["system_prompt_used"] == "  Be brief.  "
    assert answer["model_info"]["model_loaded"] is True
    assert answer["parameters"]["max_tokens"] == 5


async def test_a_message_is_put_behind_its_prompt_and_history(client: httpx.AsyncClient) -> None:
    history = [
        {"sender": "user", "content": "Hi", "created_at": "2025-07-30T10:00:00Z"},
        {"sender": "assistant", "content": "Hello", "created_at": "2025-07-30T10:00:01Z"},
    ]
    status, answer = await post(
        client, "/chat", message="How?", system_prompt="Kind.", conversation_history=history
    )
    assert status == httpx.codes.OK
    assert [each["content"] for each in answer["messages_used"]] == ["Kind.", "Hi", "Hello", "How?"]
    assert answer["conversation_history"][:3] == [
        {"sender": "user", "content": "Hi"},
        {"sender": "assistant", "content": "Hello"},
        {"sender": "user", "content": "How?"},
    ]
    assert answer["conversation_history"][3]["content"] == answer["response"]


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"message": "Hi"}, "SYSTEM_PROMPT_MISSING", "system_prompt is missing"),
        ({}, "INVALID_PROMPT", "messages is missing"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "INVALID_PROMPT", "messages[0].role"),
        ({"messages": [SAID], "temperature": 9}, "INVALID_PROMPT", "temperature"),
        ({"messages": [SAID], "max_tokens": 0}, "INVALID_PROMPT", "max_tokens"),
        ({"messages": [{**SAID, "content": "x" * 100_001}]}, "INVALID_PROMPT", "100,000"),
        ({"message": "Hi", "system_prompt": "", "user_id": "me"}, "INVALID_PROMPT", "user_id"),
    ],
)
async def test_what_is_wrong_is_named(
    client: httpx.AsyncClient, body: dict[str, Any], code: str, words: str
) -> None:
    status, answer = await post(client, "/chat", **body)
    assert (status, answer["success"], answer["error_code"]) == (400, False, code)
    assert words in answer["error"]


async def test_an_empty_system_prompt_means_none(client: httpx.AsyncClient) -> None:
    status, answer = await post(client, "/chat", message="Hi", system_prompt="")
    assert status == httpx.codes.OK
    assert answer["messages_used"] == [{"role": "user", "content": "Hi"}]


async def test_the_other_endpoints_of_text(client: httpx.AsyncClient) -> None:
    messages = [{"role": "user", "content": "a cat"}]
    _, enhanced = await post(client, "/enhance", messages=messages)
    assert enhanced["enhanced_prompt"]
    assert enhanced["messages_used"] == messages
    _, generated = await post(client, "/generate", messages=messages)
    assert generated["response"] == generated["generated_text"] != ""
    status, debug = await post(
        client, "/chat/debug/system-prompt", message="test", system_prompt="Be kind.",
        conversation_history=[],
    )  # fmt: skip
    assert status == httpx.codes.OK
    assert debug["system_prompt_received"] == debug["system_prompt_used"] == "Be kind."
    assert debug["messages_built"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "test"},
    ]
    assert debug["no_override_detected"] is debug["pure_inference_mode"] is True


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_old_endpoint_says_where_to_go(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, "/chat/unrestricted", json={"message": "Hi"})
    assert response.status_code == httpx.codes.GONE
    assert "/chat" in response.json()["error"]


async def test_an_answer_comes_in_pieces(client: httpx.AsyncClient) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
    events: list[tuple[str, Any]] = []
    async with client.stream("POST", "/chat", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        kind = ""
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                events.append((kind, json.loads(value)))
    *pieces, (last, answer) = events
    assert {kind for kind, _ in pieces} == {"delta"}
    assert last == "end"
    assert "".join(data["text"] for _, data in pieces) == answer["response"] != ""
    assert answer["success"] is True


async def test_a_stream_that_fails_before_its_first_piece_has_a_status(
    client: httpx.AsyncClient,
) -> None:
    status, answer = await post(
        client, "/chat", message="Hi", system_prompt="", stream=True,
        fake={"fail": "no", "steps": 0},
    )  # fmt: skip
    assert (status, answer["error_code"]) == (500, "GENERATION_FAILED")
