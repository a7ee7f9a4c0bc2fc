"""Resumable uploads: the TUS protocol, spoken byte by byte."""

import base64
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from supabase import AsyncClient

from devstack.stack import Stack

CONTENT = bytes(range(256)) * 64
HALF = len(CONTENT) // 2
CHUNK = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0"}


@pytest.fixture
async def bucket(service: AsyncClient) -> AsyncIterator[str]:
    name = f"b-{uuid4()}"
    await service.storage.create_bucket(name)
    yield name
    await service.storage.empty_bucket(name)
    await service.storage.delete_bucket(name)


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {stack.service_role_key}"}
    root = f"{stack.url}/storage/v1/upload/resumable"
    async with httpx.AsyncClient(base_url=root, headers=headers) as client:
        yield client


def creation(bucket: str, name: str = "u/video.mp4", **headers: str) -> dict[str, str]:
    notes = {
        "bucketName": bucket,
        "objectName": name,
        "contentType": "video/mp4",
        "cacheControl": "60",
    }
    encoded = (f"{key} {base64.b64encode(v.encode()).decode()}" for key, v in notes.items())
    metadata = ",".join(encoded)
    return {"Upload-Length": str(len(CONTENT)), "Upload-Metadata": metadata, **headers}


async def test_an_upload_goes_on_where_it_broke_off(
    http: httpx.AsyncClient, service: AsyncClient, bucket: str
) -> None:
    """Chunks add up to the object, which appears with the last byte only."""
    files = service.storage.from_(bucket)
    created = await http.post("", headers=creation(bucket))
    url = created.headers["Location"]
    first = await http.patch(url, content=CONTENT[:HALF], headers=CHUNK | {"Upload-Offset": "0"})
    half_way = await http.head(url)
    too_early = await files.exists("u/video.mp4")
    rest = CHUNK | {"Upload-Offset": half_way.headers["Upload-Offset"]}
    second = await http.patch(url, content=CONTENT[HALF:], headers=rest)
    info = await files.info("u/video.mp4")

    assert (created.status_code, first.status_code, second.status_code) == (201, 204, 204)
    assert half_way.headers["Upload-Offset"] == str(HALF)
    assert half_way.headers["Upload-Length"] == str(len(CONTENT))
    assert not too_early
    assert await files.download("u/video.mp4") == CONTENT
    assert (info["content_type"], info["cache_control"]) == ("video/mp4", "max-age=60")
    assert (await http.head(url)).status_code == 404


async def test_a_wrong_offset_is_a_conflict(http: httpx.AsyncClient, bucket: str) -> None:
    """Bytes are taken only where the upload stands."""
    url = (await http.post("", headers=creation(bucket))).headers["Location"]
    answer = await http.patch(url, content=b"x", headers=CHUNK | {"Upload-Offset": "5"})
    gone = await http.delete(url)

    assert answer.status_code == 409
    assert gone.status_code == 204
    assert (await http.head(url)).status_code == 404


async def test_creation_may_bring_the_content(
    http: httpx.AsyncClient, service: AsyncClient, bucket: str
) -> None:
    """One request is enough for a file that fits in one."""
    answer = await http.post("", headers=creation(bucket) | CHUNK, content=CONTENT)

    assert answer.headers["Upload-Offset"] == str(len(CONTENT))
    assert await service.storage.from_(bucket).download("u/video.mp4") == CONTENT


async def test_what_cant_become_an_object_is_refused_at_once(
    stack: Stack, http: httpx.AsyncClient, service: AsyncClient, bucket: str
) -> None:
    """Duplicates, strangers, missing buckets and bad names fail at creation."""
    await service.storage.from_(bucket).upload("u/video.mp4", b"1")
    stranger = {"Authorization": f"Bearer {stack.token(uuid4())}"}

    async def refused(headers: dict[str, str]) -> Any:
        return (await http.post("", headers=headers)).json()["statusCode"]

    assert await refused(creation(bucket)) == "409"
    assert await refused(creation(bucket, "new") | stranger) == "403"
    assert await refused(creation("missing")) == "404"
    assert await refused(creation(bucket, "../x")) == "400"
    replacing = await http.post("", headers=creation(bucket, **{"x-upsert": "true"}))
    assert replacing.status_code == 201


async def test_a_client_can_ask_for_the_protocols_version(http: httpx.AsyncClient) -> None:
    """OPTIONS names the version and the extensions."""
    answer = await http.options("")

    assert answer.headers["Tus-Version"] == "1.0.0"
    assert "creation" in answer.headers["Tus-Extension"]
