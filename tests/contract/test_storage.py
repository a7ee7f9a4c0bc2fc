"""Files as the official Python client sends and fetches them."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from storage3.exceptions import StorageApiError
from supabase import AsyncClient

from devstack.stack import Stack

PNG = b"\x89PNG" + bytes(range(256)) * 300


@pytest.fixture
async def bucket(service: AsyncClient) -> AsyncIterator[str]:
    """A private bucket of one test."""
    name = f"b-{uuid4()}"
    await service.storage.create_bucket(name)
    yield name
    await service.storage.empty_bucket(name)
    await service.storage.delete_bucket(name)


async def test_a_file_comes_back_as_it_went(service: AsyncClient, bucket: str) -> None:
    """Upload, download, information and existence agree."""
    files = service.storage.from_(bucket)
    options: Any = {"content-type": "image/png", "metadata": {"job": "1"}}
    sent = await files.upload("u/j/1 (a).png", PNG, options)
    info = await files.info("u/j/1 (a).png")

    assert sent.full_path == f"{bucket}/u/j/1 (a).png"
    assert await files.download("u/j/1 (a).png") == PNG
    assert info["content_type"] == "image/png"
    assert info["size"] == len(PNG)
    assert info["cache_control"] == "max-age=3600"
    assert info["metadata"] == {"job": "1"}
    assert await files.exists("u/j/1 (a).png")
    assert not await files.exists("u/j/2.png")


async def test_a_name_is_taken_once_unless_replacing_is_asked_for(
    service: AsyncClient, bucket: str
) -> None:
    """A second upload is Duplicate; with upsert, or as an update, it replaces."""
    files = service.storage.from_(bucket)
    await files.upload("a", b"1")
    with pytest.raises(StorageApiError) as duplicate:
        await files.upload("a", b"2")
    with pytest.raises(StorageApiError) as missing:
        await files.update("b", b"2")
    before = await files.download("a")
    await files.upload("a", b"3", {"upsert": "true"})
    replaced = await files.download("a")
    await files.update("a", b"4")

    assert (duplicate.value.status, duplicate.value.code) == ("409", "Duplicate")
    assert (missing.value.status, missing.value.code) == ("404", "not_found")
    assert (before, replaced, await files.download("a")) == (b"1", b"3", b"4")


async def test_errors_travel_as_on_a_hosted_project(stack: Stack, service: AsyncClient) -> None:
    """A missing bucket is HTTP 400 with a body that says 404."""
    with pytest.raises(StorageApiError) as caught:
        await service.storage.from_("missing").upload("a", b"1")
    headers = {"Authorization": f"Bearer {stack.service_role_key}"}
    async with httpx.AsyncClient(headers=headers) as client:
        answer = await client.post(f"{stack.url}/storage/v1/object/missing/a", content=b"1")

    assert (caught.value.status, caught.value.code) == ("404", "Bucket not found")
    assert answer.status_code == 400
    assert answer.json() == {
        "statusCode": "404",
        "error": "Bucket not found",
        "message": "Bucket not found",
    }


async def test_public_buckets_need_no_key(stack: Stack, service: AsyncClient, bucket: str) -> None:
    """A public URL works only while its bucket is public; ranges are served."""
    files = service.storage.from_(bucket)
    await files.upload("a.bin", PNG, {"content-type": "image/png"})
    url = await files.get_public_url("a.bin", {"download": "b.png"})
    async with httpx.AsyncClient() as client:
        refused = await client.get(url)
        await service.storage.update_bucket(bucket, {"public": True})
        whole = await client.get(url)
        part = await client.get(url, headers={"Range": "bytes=4-7"})

    assert refused.status_code == 400
    assert (whole.status_code, whole.content) == (200, PNG)
    assert whole.headers["Content-Type"] == "image/png"
    assert whole.headers["Content-Disposition"] == "attachment; filename*=UTF-8''b.png"
    assert (part.status_code, part.content) == (206, PNG[4:8])


async def test_signed_urls(service: AsyncClient, bucket: str) -> None:
    """A signed URL opens its object and no other, until it expires."""
    files = service.storage.from_(bucket)
    await files.upload("u/a b.txt", b"secret")
    await files.upload("u/c.txt", b"other")
    url = (await files.create_signed_url("u/a b.txt", 60))["signedURL"]
    many = await files.create_signed_urls(["u/c.txt", "u/none"], 60)
    expired = (await files.create_signed_url("u/c.txt", -5))["signedURL"]
    async with httpx.AsyncClient() as client:
        good = await client.get(url)
        foreign = await client.get(url.replace("a%20b.txt", "c.txt"))
        late = await client.get(expired)

    assert good.content == b"secret"
    assert foreign.json()["error"] == "InvalidSignature"
    assert late.json()["error"] == "InvalidJWT"
    assert many[0]["error"] is None
    assert many[1]["signedURL"] is None
    with pytest.raises(StorageApiError):
        await files.create_signed_url("u/none", 60)


async def test_a_signed_upload_needs_no_key(service: AsyncClient, bucket: str) -> None:
    """Whoever holds a signed upload URL may put one file there."""
    files = service.storage.from_(bucket)
    signed = await files.create_signed_upload_url("u/new.txt")
    await files.upload_to_signed_url("u/new.txt", signed["token"], b"hello")

    assert await files.download("u/new.txt") == b"hello"


async def test_listing_shows_a_folder_at_a_time(service: AsyncClient, bucket: str) -> None:
    """Folders come first and have no id; sorting, paging and searching work."""
    files = service.storage.from_(bucket)
    for name in ("x/1.txt", "x/2.txt", "x/deep/3.txt", "y.txt"):
        await files.upload(name, name.encode())
    top = await files.list()
    inside = await files.list("x", {"sortBy": {"column": "name", "order": "desc"}})
    found = await files.list("x", {"search": "2", "limit": 1})

    assert [(e["name"], e["id"] is None) for e in top] == [("x", True), ("y.txt", False)]
    assert [e["name"] for e in inside] == ["deep", "2.txt", "1.txt"]
    assert [e["name"] for e in found] == ["2.txt"]
    assert found[0]["metadata"]["size"] == len("x/2.txt")


async def test_moving_copying_removing(service: AsyncClient, bucket: str) -> None:
    """Objects move, are copied and go; what is gone is not found."""
    files = service.storage.from_(bucket)
    await files.upload("a", b"1")
    await files.copy("a", "b")
    await files.move("a", "c")
    removed = await files.remove(["b", "nothing"])

    assert await files.download("c") == b"1"
    assert [row["name"] for row in removed] == ["b"]
    for gone in ("a", "b"):
        with pytest.raises(StorageApiError, match="Object not found"):
            await files.download(gone)


async def test_buckets(service: AsyncClient, bucket: str) -> None:
    """A bucket exists once, has its limits, and goes only when empty."""
    options: Any = {"file_size_limit": 10, "allowed_mime_types": ["image/*"]}
    await service.storage.update_bucket(bucket, options)
    files = service.storage.from_(bucket)
    with pytest.raises(StorageApiError, match="exceeded"):
        await files.upload("a", b"x" * 11, {"content-type": "image/png"})
    with pytest.raises(StorageApiError, match="mime type"):
        await files.upload("a", b"x", {"content-type": "text/html"})
    await files.upload("a", b"x" * 10, {"content-type": "image/png"})
    with pytest.raises(StorageApiError, match="Duplicate"):
        await service.storage.create_bucket(bucket)
    with pytest.raises(StorageApiError, match="not empty"):
        await service.storage.delete_bucket(bucket)
    with pytest.raises(StorageApiError, match="Bucket not found"):
        await service.storage.get_bucket("missing")
    found = await service.storage.get_bucket(bucket)

    assert (found.public, found.file_size_limit) == (False, 10)
    assert bucket in [one.id for one in await service.storage.list_buckets()]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../b", "a//b", "a/./b", "é", "a\\b"])
async def test_names_that_no_object_has(
    stack: Stack, service: AsyncClient, bucket: str, name: str
) -> None:
    """Dot segments, empty segments and odd letters are refused, sent raw or encoded."""
    raw = name.replace("/", "%2F").replace("é", "%C3%A9").replace("\\", "%5C").replace(".", "%2E")
    headers = {"Authorization": f"Bearer {stack.service_role_key}"}
    async with httpx.AsyncClient(headers=headers) as client:
        answer = await client.post(f"{stack.url}/storage/v1/object/{bucket}/{raw}", content=b"1")

    assert answer.status_code == 400
    assert answer.json()["error"] == "InvalidKey"
    assert await service.storage.from_(bucket).list() == []


async def test_row_level_security_decides(
    stack: Stack, service: AsyncClient, client_of: Any, bucket: str, run_sql: Any
) -> None:
    """A user may write and see what policies on storage.objects let him."""
    run_sql(
        f"""
        create policy "own folder" on storage.objects to authenticated
            using (bucket_id = '{bucket}' and (storage.foldername(name))[1] = auth.uid()::text)
            with check (bucket_id = '{bucket}' and owner_id = auth.uid()::text
                and (storage.foldername(name))[1] = auth.uid()::text)
        """
    )
    user, other = str(uuid4()), str(uuid4())
    mine = (await client_of(stack.anon_key, stack.token(user))).storage.from_(bucket)
    theirs = (await client_of(stack.anon_key, stack.token(other))).storage.from_(bucket)
    await mine.upload(f"{user}/a", b"1")
    await mine.upload(f"{user}/a", b"2", {"upsert": "true"})
    try:
        assert await mine.download(f"{user}/a") == b"2"
        with pytest.raises(StorageApiError, match="row-level security") as refused:
            await theirs.upload(f"{user}/b", b"1")
        with pytest.raises(StorageApiError, match="Object not found"):
            await theirs.download(f"{user}/a")
        with pytest.raises(StorageApiError, match="Object not found"):
            await theirs.create_signed_url(f"{user}/a", 60)
        assert await theirs.remove([f"{user}/a"]) == []
        assert (await theirs.list(user)) == []
    finally:
        run_sql('drop policy "own folder" on storage.objects')

    assert (refused.value.status, refused.value.code) == ("403", "Unauthorized")
    assert await service.storage.from_(bucket).download(f"{user}/a") == b"2"


async def test_no_file_stays_without_a_row(
    stack: Stack, client_of: Any, service: AsyncClient, bucket: str
) -> None:
    """Replaced, refused and removed files leave the disk."""
    folder = stack._data_dir / "storage"
    files = service.storage.from_(bucket)
    before = len(list(folder.iterdir()))
    await files.upload("a", b"1")
    await files.upload("a", b"2", {"upsert": "true"})
    stranger = await client_of(stack.anon_key, stack.token(uuid4()))
    with pytest.raises(StorageApiError):
        await stranger.storage.from_(bucket).upload("b", b"1")
    with pytest.raises(StorageApiError):
        await files.upload("a", b"3")
    during = len(list(folder.iterdir()))
    await files.remove(["a"])

    assert during == before + 1
    assert len(list(folder.iterdir())) == before
