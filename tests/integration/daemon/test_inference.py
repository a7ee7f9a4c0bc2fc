"""Answers over HTTP from a whole daemon: text, pictures, films, and what goes wrong."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from daemon_process import Daemon
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]
WITHIN_S = 60.0
SLOW = {"steps": 10_000, "step_s": 0.01}
"""A run that ends only since it is stopped."""
SAID = {"role": "user", "content": "x"}


@pytest_asyncio.fixture(loop_scope="session")
async def serving(daemon: StartDaemon, direct: Project) -> AsyncIterator[Daemon]:
    async with daemon(direct) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def client(serving: Daemon) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=serving.url, timeout=WITHIN_S) as opened:
        yield opened


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> tuple[int, Any]:
    response = await client.post(path, json=body)
    return response.status_code, response.json()


async def active(client: httpx.AsyncClient) -> int:
    return int((await client.get("/health")).json()["active_jobs"])


async def until_active(client: httpx.AsyncClient, count: int) -> None:
    async def is_so() -> bool:
        return await active(client) == count

    await eventually(is_so, WITHIN_S, what=f"{count} are active")


async def until_running(client: httpx.AsyncClient) -> None:
    async def is_so() -> bool:
        jobs = (await client.get("/status")).json()["jobs"]
        return any(job["phase"] == "running" for job in jobs)

    await eventually(is_so, WITHIN_S, what="one is running")


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


def _read(url: str) -> bytes:
    return Path(url.removeprefix("file://")).read_bytes()


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


async def test_a_picture_is_stored_and_its_metadata_told(
    client: httpx.AsyncClient, direct: Project
) -> None:
    user = str(uuid4())
    status, answer = await post(
        client, "/generate_image", prompt="mountains", model="sdxl", quality="fast", width=64,
        height=64, steps=2, seed=42, negative_prompt="blurry", num_images=2, user_id=user,
    )  # fmt: skip
    assert (status, answer.get("status")) == (200, "success"), answer
    metadata = answer["metadata"]
    assert metadata["model"] == "sdxl"
    assert (metadata["prompt"], metadata["seed"], metadata["steps"]) == ("mountains", 42, 2)
    assert metadata["generation_time"] >= 0
    urls = [each["url"] for each in answer["artifacts"]]
    assert answer["image_url"] == urls[0]
    assert [_read(url)[:4] for url in urls] == [b"\x89PNG"] * 2
    assert all(f"/{user}/" in url for url in urls)


async def test_a_film_has_a_picture_beside_it(client: httpx.AsyncClient) -> None:
    status, answer = await post(
        client, "/generate_video", prompt="a cat", duration=1, fps=8, width=64, height=64
    )
    assert status == httpx.codes.OK
    assert _read(answer["video_url"])
    assert _read(answer["thumbnail_url"])
    assert (answer["metadata"]["duration"], answer["metadata"]["fps"]) == (1, 8)


async def test_files_can_come_with_the_answer(
    client: httpx.AsyncClient, direct: Project, tmp_path: Path
) -> None:
    before = _files(tmp_path)
    _, answer = await post(
        client, "/generate_image", prompt="x", width=64, height=64, response_format="b64_json"
    )
    head, _, data = answer["image_url"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data)[:4] == b"\x89PNG"
    assert _files(tmp_path) == before


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"prompt": "x" * 1001}, "1,001"),
        ({}, "prompt is missing"),
        ({"prompt": "  "}, "prompt"),
        ({"prompt": "x", "width": 100}, "width"),
        ({"prompt": "x", "steps": 0}, "steps"),
        ({"prompt": "x", "model": "dalle"}, "model"),
        ({"prompt": "x", "seed": -1}, "seed"),
    ],
)
async def test_pictures_that_cannot_be(
    client: httpx.AsyncClient, body: dict[str, Any], words: str
) -> None:
    status, answer = await post(client, "/generate_image", **body)
    assert (status, answer["error_code"]) == (400, "INVALID_PROMPT")
    assert words in answer["error"]


async def test_who_hangs_up_stops_the_work(client: httpx.AsyncClient) -> None:
    with contextlib.suppress(httpx.ReadTimeout):
        await client.post(
            "/chat", json={"message": "Hi", "system_prompt": "", "fake": SLOW}, timeout=1.0
        )
    await until_active(client, 0)
    status, _ = await post(client, "/chat", message="Hi", system_prompt="")
    assert status == httpx.codes.OK


async def test_a_lost_engine_is_replaced_under_a_request(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    status, answer = await post(
        client, "/chat", message="Hi", system_prompt="",
        fake={"crash_once": str(tmp_path / "crashed")},
    )  # fmt: skip
    assert status == httpx.codes.OK, answer
    status, answer = await post(client, "/chat", message="Hi", system_prompt="", fake={"crash": 1})
    assert (status, answer["error_code"]) == (500, "GENERATION_FAILED")


async def test_a_full_worker_says_when_to_come_back(daemon: StartDaemon, direct: Project) -> None:
    async with (
        daemon(direct, OURVIDZ_SERVER__MAX_REQUESTS="2") as running,
        httpx.AsyncClient(base_url=running.url, timeout=WITHIN_S) as client,
    ):
        body = {"message": "Hi", "system_prompt": "", "fake": SLOW}
        held = [asyncio.create_task(client.post("/chat", json=body)) for _ in range(2)]
        await until_active(client, 2)
        response = await client.post("/chat", json=body)
        assert response.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert response.json()["error_code"] == "NOT_READY"
        assert int(response.headers["retry-after"]) > 0
        for each in held:
            each.cancel()
        await until_active(client, 0)


async def test_a_draining_worker_finishes_what_runs_and_takes_nothing(
    daemon: StartDaemon, direct: Project
) -> None:
    async with daemon(direct) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=WITHIN_S) as client:
            fake = {"steps": 100, "step_s": 0.02}
            body = {"message": "Hi", "system_prompt": "", "fake": fake}
            held = asyncio.create_task(client.post("/chat", json=body))
            await until_running(client)
            stopped = asyncio.create_task(running.stop())

            async def refused() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    response = await client.post("/chat", json=body)
                    return response.status_code == httpx.codes.SERVICE_UNAVAILABLE
                return False

            await eventually(refused, WITHIN_S, what="nothing is taken")
            assert (await held).status_code == httpx.codes.OK
        assert await stopped == 0


async def test_a_worker_without_the_model_says_so(daemon: StartDaemon, direct: Project) -> None:
    async with (
        daemon(direct, OURVIDZ_WORKER_TYPE="chat") as running,
        httpx.AsyncClient(base_url=running.url, timeout=WITHIN_S) as client,
    ):
        status, answer = await post(client, "/generate_image", prompt="x")
        assert (status, answer["error_code"]) == (404, "MODEL_NOT_SERVED")


async def test_work_that_nobody_waits_for_becomes_a_row(
    client: httpx.AsyncClient, direct: Project
) -> None:
    body = {"prompt": "a lake", "width": 64, "height": 64, "steps": 2, "user_id": str(uuid4())}
    headers = {"Prefer": "wait=1, respond-async", "Idempotency-Key": str(uuid4())}
    response = await client.post("/generate_image", json=body, headers=headers)
    assert response.status_code == httpx.codes.ACCEPTED, response.text
    assert response.headers["preference-applied"] == "respond-async"
    accepted = response.json()
    again = await client.post("/generate_image", json=body, headers=headers)
    assert again.json()["job_id"] == accepted["job_id"]
    other = await client.post("/generate_image", json={**body, "steps": 3}, headers=headers)
    assert (other.status_code, other.json()["error_code"]) == (422, "UNPROCESSABLE")
    row = await direct.until(UUID(accepted["job_id"]), "completed")
    assert (row["job_type"], str(row["user_id"])) == ("sdxl_image_fast", body["user_id"])
    told = (await client.get(accepted["status_url"])).json()
    assert (told["status"], told["progress"]) == ("completed", 100)
    assert told["result"]["image_url"] == json.loads(row["result"])["image_url"]
    status, answer = await post_later(client, prompt="x", width=100)
    assert (status, answer["error_code"]) == (400, "INVALID_PROMPT")
    status, answer = await post_later(client, prompt="x", response_format="b64_json")
    assert (status, answer["error_code"]) == (400, "INVALID_PROMPT")


async def post_later(client: httpx.AsyncClient, **body: Any) -> tuple[int, Any]:
    headers = {"Prefer": "respond-async"}
    response = await client.post("/generate_image", json=body, headers=headers)
    return response.status_code, response.json()


@pytest.mark.parametrize("path", ["/chat", "/v1/chat/completions"])
async def test_a_request_that_is_repeated_runs_once(client: httpx.AsyncClient, path: str) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "model": "chat"}
    headers = {"Idempotency-Key": str(uuid4())}
    first = await client.post(path, json=body, headers=headers)
    turned = dict(reversed(body.items()))
    again = await client.post(path, json=turned, headers=headers)
    assert (again.status_code, again.json()) == (httpx.codes.OK, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    other = await client.post(path, json={**body, "seed": 1}, headers=headers)
    assert other.status_code == httpx.codes.UNPROCESSABLE_ENTITY
