"""What goes wrong while files are stored: a full disk, a lost answer, a missing bucket."""

import errno
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from faulty_network import Fault, FaultyNetwork
from scripted import a_job
from tenacity import wait_none

from daemon.artifacts.local import LocalArtifacts
from daemon.artifacts.supabase import SupabaseArtifacts
from daemon.credentials import Credentials
from daemon.jobs import ErrorCode, JobError
from daemon.values import ArtifactFile
from devstack.stack import Stack
from devstack.tokens import mint

BUCKETS = {"image": "ourvidz-images", "video": "ourvidz-videos"}
PNG = ArtifactFile("image", "image/png", "png", b"\x89PNG not really")
CHUNK = 6 * 2**20
MOVIE = ArtifactFile("video", "video/mp4", "mp4", os.urandom(2 * CHUNK + 5))

on_one_loop = pytest.mark.asyncio(loop_scope="session")


async def error_of(saving: Any) -> JobError:
    with pytest.raises(JobError) as caught:
        await saving
    return caught.value


async def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator can make room, so the job may be tried again."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    error = await error_of(LocalArtifacts(tmp_path, BUCKETS).save(a_job(), 0, PNG))
    assert error.error_code is ErrorCode.NETWORK_ERROR
    assert error.message == f"the disk of the artifact folder {tmp_path} is full"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []  # noqa: ASYNC240  a test


async def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The check says it before the first job, and a save says it too."""
    (tmp_path / "file").write_text("")
    store = LocalArtifacts(tmp_path / "file" / "folder", BUCKETS)
    error = await error_of(store.save(a_job(), 0, PNG))
    assert "can't be written" in error.message
    assert [error.message] == await store.check()


async def test_nothing_outside_the_root_is_touched(tmp_path: Path) -> None:
    """Whatever a path says, the store keeps to its folder."""
    outside = tmp_path / "outside.png"
    outside.write_text("kept")
    store = LocalArtifacts(tmp_path / "root", BUCKETS)
    artifact = await store.save(a_job(), 0, PNG)
    for path in ("../../outside.png", str(outside)):
        error = await error_of(store.remove([replace(artifact, path=path)]))
        assert error.error_code is ErrorCode.GENERATION_FAILED
    assert outside.read_text() == "kept"


async def test_a_public_address_replaces_the_file_url(tmp_path: Path) -> None:
    """Behind a web server, results carry its address."""
    store = LocalArtifacts(tmp_path, BUCKETS, public_url="https://files.example.org/")
    artifact = await store.save(a_job(), 0, PNG)
    assert artifact.url == f"https://files.example.org/ourvidz-images/{artifact.path}"


@pytest_asyncio.fixture(loop_scope="session")
async def network(stack: Stack) -> AsyncIterator[FaultyNetwork]:
    async with FaultyNetwork(stack.url).running() as between:
        yield between


@pytest_asyncio.fixture(loop_scope="session")
async def store(stack: Stack, network: FaultyNetwork) -> AsyncIterator[SupabaseArtifacts]:
    made = a_store(network.url, worker_of(stack))
    yield made
    await made.aclose()


def worker_of(stack: Stack) -> Credentials:
    return Credentials(stack.anon_key, stack.worker_token)


def a_store(url: str, credentials: Credentials, **buckets: str) -> SupabaseArtifacts:
    return SupabaseArtifacts(url, credentials, BUCKETS | buckets, timeout_s=20, wait=wait_none())


async def content(url: str | None) -> bytes:
    assert url is not None
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).raise_for_status().content


UPLOAD = "/object/ourvidz-images/"
RESUMABLE = "/upload/resumable"
BUSY = Fault("POST", UPLOAD, status=503, body="<html>busy</html>")


@on_one_loop
@pytest.mark.parametrize(
    ("faults", "uploads"),
    [
        pytest.param([BUSY, BUSY], 3, id="busy"),
        pytest.param([Fault("POST", UPLOAD, status=429)], 2, id="too many requests"),
        pytest.param([Fault("POST", UPLOAD, arrives=0)], 2, id="request lost"),
        pytest.param([Fault("POST", UPLOAD, arrives=-1)], 2, id="answer lost"),
        pytest.param([Fault("POST", UPLOAD, arrives=-1)] * 2, 3, id="answer lost twice"),
        pytest.param([Fault("HEAD", "/object/public/", status=502)], 1, id="publicity unknown"),
        pytest.param([Fault("POST", "/object/sign/", status=500)], 1, id="signing failed"),
    ],
)
async def test_a_failure_that_passes_costs_nothing(
    store: SupabaseArtifacts, network: FaultyNetwork, faults: Sequence[Fault], uploads: int
) -> None:
    """The same file, stored once, whatever was lost on the way."""
    network.faults = [replace(fault) for fault in faults]
    artifact = await store.save(a_job(), 0, PNG)
    assert await content(artifact.url) == PNG.data
    assert network.count("POST", UPLOAD) == uploads
    assert network.faults == []


@on_one_loop
async def test_a_failure_that_stays_is_retryable(
    store: SupabaseArtifacts, network: FaultyNetwork
) -> None:
    """After three tries the job goes back: Storage may work again by then."""
    network.faults = [BUSY] * 3
    error = await error_of(store.save(a_job(), 0, PNG))
    assert error.error_code is ErrorCode.NETWORK_ERROR
    assert error.message == "Storage answered 503: Unable to parse error message: <html>busy</html>"


@on_one_loop
async def test_an_unreachable_storage_is_retryable(stack: Stack) -> None:
    """No answer at all is said as such, by a save and by the check."""
    store = a_store("http://127.0.0.1:1", worker_of(stack))
    error = await error_of(store.save(a_job(), 0, PNG))
    assert error.error_code is ErrorCode.NETWORK_ERROR
    assert error.message.startswith("Storage can't be reached: ")
    assert await store.check() == [error.message]
    await store.aclose()


@on_one_loop
@pytest.mark.parametrize("file", [PNG, replace(MOVIE, kind="image")], ids=["small", "large"])
async def test_a_missing_bucket_is_named(stack: Stack, file: ArtifactFile) -> None:
    """No retry makes a bucket, so the job fails at once and says what to do."""
    store = a_store(stack.url, Credentials(stack.service_role_key), image="nowhere")
    error = await error_of(store.save(a_job(), 0, file))
    assert error.error_code is ErrorCode.GENERATION_FAILED
    assert error.message.startswith('bucket "nowhere" does not exist: ')
    assert await store.check() == [error.message]
    await store.aclose()


@on_one_loop
async def test_a_key_without_rights_fails_at_once(stack: Stack) -> None:
    """An operator must act; another try would only run the model again."""
    store = a_store(stack.url, Credentials(stack.anon_key))
    error = await error_of(store.save(a_job(), 0, PNG))
    assert error.error_code is ErrorCode.GENERATION_FAILED
    assert error.message.startswith('Storage refused to write to bucket "ourvidz-images": 403 ')
    await store.aclose()


@on_one_loop
@pytest.mark.parametrize("file", [PNG, replace(MOVIE, kind="image")], ids=["small", "large"])
async def test_an_expired_token_is_said(stack: Stack, file: ArtifactFile) -> None:
    """The operator can make another one, so the job may be tried again."""
    token = mint(stack.jwt_secret, "ourvidz_worker", expires_in=-3600)
    store = a_store(stack.url, Credentials(stack.anon_key, token))
    error = await error_of(store.save(a_job(), 0, file))
    assert error.error_code is ErrorCode.NETWORK_ERROR
    assert error.message == "Storage refuses the request: the worker's token has expired"
    await store.aclose()


@on_one_loop
async def test_no_url_is_better_than_a_lost_file(
    store: SupabaseArtifacts, network: FaultyNetwork
) -> None:
    """The file is stored; that its address can't be had doesn't undo the run."""
    network.faults = [Fault("POST", "/object/sign/", status=500)] * 3
    artifact = await store.save(a_job(), 0, PNG)
    assert artifact.url is None
    assert artifact.path


@on_one_loop
async def test_a_public_bucket_has_plain_urls(stack: Stack) -> None:
    """An address that doesn't expire, where nobody asked for privacy."""
    headers = {
        "apikey": stack.service_role_key,
        "Authorization": f"Bearer {stack.service_role_key}",
    }
    bucket = {"id": "open", "name": "open", "public": True}
    async with httpx.AsyncClient(headers=headers) as client:
        made = await client.post(f"{stack.url}/storage/v1/bucket", json=bucket)
        made.raise_for_status()
    store = a_store(stack.url, Credentials(stack.service_role_key), image="open")
    artifact = await store.save(a_job(), 0, PNG)
    assert artifact.url == f"{stack.url}/storage/v1/object/public/open/{artifact.path}"
    assert await content(artifact.url) == PNG.data
    await store.aclose()


@on_one_loop
@pytest.mark.parametrize(
    ("faults", "sent"),
    [
        pytest.param([], [CHUNK, CHUNK, 5], id="none"),
        pytest.param([Fault("POST", RESUMABLE, arrives=-1)], [CHUNK, CHUNK, 5], id="begun twice"),
        pytest.param([Fault("PATCH", "", arrives=0)], [CHUNK, CHUNK, CHUNK, 5], id="chunk lost"),
        pytest.param([Fault("PATCH", "", arrives=-1)], [CHUNK, CHUNK, 5], id="answer lost"),
        pytest.param([Fault("PATCH", "", status=502)] * 2, [CHUNK] * 4 + [5], id="busy"),
        pytest.param([Fault("PATCH", "", status=409)] * 2, [CHUNK] * 4 + [5], id="locked"),
        pytest.param([Fault("PATCH", "", arrives=-1, after=2)], [CHUNK, CHUNK, 5], id="end lost"),
        pytest.param(
            [Fault("PATCH", "", arrives=-1, after=2), Fault("HEAD", RESUMABLE, status=404)],
            [CHUNK, CHUNK, 5],
            id="end lost and forgotten",
        ),
        pytest.param(
            [Fault("PATCH", "", status=410, after=1)], [CHUNK, CHUNK, CHUNK, CHUNK, 5], id="expired"
        ),
        pytest.param(
            [Fault("PATCH", "", arrives=1000)], [CHUNK, CHUNK, CHUNK - 995], id="half arrived"
        ),
    ],
)
async def test_a_large_file_is_resumed(
    store: SupabaseArtifacts, network: FaultyNetwork, faults: Sequence[Fault], sent: Sequence[int]
) -> None:
    """After a failure the server is asked what it has, and only the rest is sent."""
    network.faults = [replace(fault) for fault in faults]
    artifact = await store.save(a_job(), 0, MOVIE)
    assert await content(artifact.url) == MOVIE.data
    assert [size for verb, _, size in network.requests if verb == "PATCH"] == list(sent)


@on_one_loop
async def test_an_upload_that_stays_locked_is_no_success(
    store: SupabaseArtifacts, network: FaultyNetwork
) -> None:
    """A conflict of offsets isn't the conflict that means "there already"."""
    network.faults = [Fault("PATCH", "", status=409) for _ in range(6)]
    error = await error_of(store.save(a_job(), 0, MOVIE))
    assert error.error_code is ErrorCode.NETWORK_ERROR


@on_one_loop
async def test_a_large_file_that_is_there_is_not_sent_again(
    store: SupabaseArtifacts, network: FaultyNetwork
) -> None:
    """The path names the claim, so the file that is there is the same."""
    job = a_job()
    await store.save(job, 0, MOVIE)
    network.requests.clear()
    again = await store.save(job, 0, MOVIE)
    assert await content(again.url) == MOVIE.data
    assert network.count("PATCH", "") == 0


@on_one_loop
async def test_a_closed_store_says_so(stack: Stack) -> None:
    """A save that comes after the end of the daemon is an error like any other."""
    store = a_store(stack.url, worker_of(stack))
    await store.aclose()
    assert (await error_of(store.save(a_job(), 0, PNG))).message == "the artifact store is closed"
