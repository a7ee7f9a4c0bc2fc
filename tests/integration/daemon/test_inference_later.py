"""Requests over HTTP that are answered later, or sent twice."""

import json
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")


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
