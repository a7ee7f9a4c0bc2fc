"""Pictures and films over HTTP from a whole daemon."""

import base64
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from asking import post
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")


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
