"""One suite for every place where result files are kept: a folder, and Supabase Storage."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import pytest
import pytest_asyncio
from scripted import a_job

from daemon.artifacts.local import LocalArtifacts
from daemon.artifacts.supabase import SupabaseArtifacts
from daemon.credentials import Credentials
from daemon.ports import ArtifactStore
from daemon.values import ArtifactFile
from devstack.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

BUCKETS = {
    "image": "ourvidz-images",
    "video": "ourvidz-videos",
    "thumbnail": "ourvidz-thumbnails",
}
PNG = ArtifactFile("image", "image/png", "png", b"\x89PNG not really")

Read = Callable[[str], Awaitable[tuple[int, bytes, str]]]
"""Takes a URL; returns status, content and content type as a browser would get them."""


@dataclass(frozen=True)
class Place:
    """A store, and a way to read what it stored without asking it."""

    store: ArtifactStore
    read: Read


async def read_file(url: str) -> tuple[int, bytes, str]:
    path = Path(unquote(urlsplit(url).path))
    try:
        return 200, await asyncio.to_thread(path.read_bytes), ""
    except FileNotFoundError:
        return 404, b"", ""


async def read_over_http(url: str) -> tuple[int, bytes, str]:
    async with httpx.AsyncClient() as client:
        response = await client.get(url)
    return response.status_code, response.content, response.headers.get("content-type", "")


@pytest_asyncio.fixture(loop_scope="session", params=["local", "supabase"])
async def place(
    request: pytest.FixtureRequest, stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    if request.param == "local":
        local = LocalArtifacts(tmp_path_factory.mktemp("artifacts"), BUCKETS)
        yield Place(local, read_file)
        await local.aclose()
    else:
        credentials = Credentials(stack.anon_key, stack.worker_token)
        supabase = SupabaseArtifacts(stack.url, credentials, BUCKETS, timeout_s=20)
        yield Place(supabase, read_over_http)
        await supabase.aclose()


async def test_the_path_names_owner_job_and_claim(place: Place) -> None:
    """A row's reader finds a file by what the row says, and no two claims share a file."""
    job = a_job()
    artifact = await place.store.save(job, 2, PNG)
    assert artifact.path == f"{job.user_id}/{job.id}/{job.claim_id}-2.png"
    assert (artifact.bucket, artifact.kind) == ("ourvidz-images", "image")
    assert (artifact.content_type, artifact.size) == ("image/png", len(PNG.data))


async def test_a_job_without_owner_is_anonymous(place: Place) -> None:
    """The HTTP API's jobs have no user."""
    artifact = await place.store.save(a_job(user_id=None), 0, PNG)
    assert artifact.path.startswith("anonymous/")


async def test_the_kind_picks_the_bucket(place: Place) -> None:
    """Videos and their thumbnails lie apart from images."""
    job = a_job()
    video = await place.store.save(job, 0, ArtifactFile("video", "video/mp4", "mp4", b"video"))
    still = await place.store.save(job, 1, ArtifactFile("thumbnail", "image/jpeg", "jpg", b"s"))
    assert (video.bucket, still.bucket) == ("ourvidz-videos", "ourvidz-thumbnails")


@pytest.mark.parametrize("size", [0, 1, 7 * 2**20 + 1], ids=["empty", "small", "large"])
async def test_the_url_leads_to_the_content(place: Place, size: int) -> None:
    """Whoever follows the URL gets the same bytes, of the right type."""
    data = bytes(range(256)) * (size // 256 + 1)
    file = ArtifactFile("video", "video/mp4", "mp4", data[:size])
    artifact = await place.store.save(a_job(), 0, file)
    assert artifact.url is not None

    status, content, content_type = await place.read(artifact.url)

    assert status == 200
    assert content == file.data
    assert content_type in {"", "video/mp4"}


async def test_saving_twice_is_one_file(place: Place) -> None:
    """A run that doesn't know whether its upload arrived repeats it."""
    job = a_job()
    first = await place.store.save(job, 0, PNG)
    second = await place.store.save(job, 0, PNG)
    assert replace(first, url=None) == replace(second, url=None)
    assert second.url is not None
    assert (await place.read(second.url))[1] == PNG.data


async def test_a_strange_extension_stays_in_its_folder(place: Place) -> None:
    """A handler's word can't lead a path elsewhere."""
    job = a_job()
    file = ArtifactFile("image", "image/png", "../../Ünder/PNG?#", b"x")
    artifact = await place.store.save(job, 0, file)
    assert artifact.path == f"{job.user_id}/{job.id}/{job.claim_id}-0.nderpng"
    assert artifact.url is not None
    assert (await place.read(artifact.url))[0] == 200


async def test_many_files_at_once(place: Place) -> None:
    """Jobs end at the same time."""
    job = a_job()
    saved = await asyncio.gather(*(place.store.save(job, n, PNG) for n in range(12)))
    assert len({artifact.path for artifact in saved}) == 12


async def test_removed_files_are_gone(place: Place) -> None:
    """What a stale claim uploaded doesn't stay, in whatever bucket it lies."""
    job = a_job()
    image = await place.store.save(job, 0, PNG)
    video = await place.store.save(job, 1, ArtifactFile("video", "video/mp4", "mp4", b"v"))
    kept = await place.store.save(job, 2, PNG)

    await place.store.remove([image, video])

    assert image.url is not None
    assert video.url is not None
    assert kept.url is not None
    assert (await place.read(image.url))[0] >= 400
    assert (await place.read(video.url))[0] >= 400
    assert (await place.read(kept.url))[0] == 200


async def test_removing_what_is_not_there_is_no_error(place: Place) -> None:
    """A removal whose answer was lost is repeated."""
    artifact = await place.store.save(a_job(), 0, PNG)
    await place.store.remove([artifact])
    await place.store.remove([artifact])
    await place.store.remove([])


async def test_finds_nothing_wrong(place: Place) -> None:
    """A store that works says so, with the least of keys."""
    assert await place.store.check() == []
