"""Where result files go: one is really written to each bucket, read by its address, and removed."""

import asyncio
import base64
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import httpx

from daemon.connections import make_artifacts
from daemon.doctor.findings import Finding, failed, ok, warning
from daemon.jobs import Job, JobError
from daemon.ports import ArtifactStore
from daemon.settings import Settings
from daemon.startup import StartupError
from daemon.values import Artifact, ArtifactFile

_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
"""One pixel: buckets may take pictures alone."""
_MP4 = bytes.fromhex("00000018667479706d703432000000006d70343269736f6d")
"""The head of a film."""
_FILES = (
    ArtifactFile("image", "image/png", "png", _PNG),
    ArtifactFile("video", "video/mp4", "mp4", _MP4),
    ArtifactFile("thumbnail", "image/png", "png", _PNG),
)
_READ_S = 10.0
_UNAUTHORIZED = ": 401 "
"""How a refusal quotes the status."""


async def look(settings: Settings) -> list[Finding]:
    """Return a finding for each kind of file."""
    try:
        store = make_artifacts(settings)
    except StartupError as error:
        return [failed("storage", str(error), "set SUPABASE_URL, or artifacts.kind to local")]
    try:
        return list(await asyncio.gather(*(_file(store, file, settings) for file in _FILES)))
    finally:
        await store.aclose()


async def _file(store: ArtifactStore, file: ArtifactFile, settings: Settings) -> Finding:
    check = f"storage: {file.kind}"
    job = Job(
        id=uuid4(), user_id=None, job_type="doctor", request={}, claim_id=uuid4(), attempt=1,
        max_attempts=1, created_at=datetime.now(UTC),
    )  # fmt: skip
    try:
        artifact = await store.save(job, 0, file)
    except JobError as error:
        refused = _UNAUTHORIZED in error.message
        advice = "see what is said of the project and the key" if refused else _advice(settings)
        return failed(check, f"not written: {error.message}", advice)
    try:
        problem = await _read_back(artifact, file.data)
    finally:
        try:
            await store.remove([artifact])
            left = ""
        except JobError as error:
            left = error.message
    if left:
        seen = f"{artifact.bucket}/{artifact.path} can't be removed: {left}"
        return failed(check, seen, "grant delete on storage.objects: `ourvidz-worker migrate`")
    if problem:
        return warning(check, f"{artifact.bucket}: written, but {problem}", _advice(settings))
    return ok(check, f"{artifact.bucket}: written, read by its address, and removed")


async def _read_back(artifact: Artifact, data: bytes) -> str:
    """Return what is wrong with the address that a frontend would use; empty: nothing."""
    if artifact.url is None:
        return "it has no address: the bucket is private and nothing signs"
    parts = urlsplit(artifact.url)
    if parts.scheme == "file":
        found = await asyncio.to_thread(Path(unquote(parts.path)).read_bytes)
        return "" if found == data else "another content is read"
    try:
        client = await asyncio.to_thread(httpx.AsyncClient, timeout=_READ_S)
        async with client:
            answer = await client.get(artifact.url, follow_redirects=True)
    except httpx.HTTPError as error:
        return f"its address can't be read: {type(error).__name__}"
    if not answer.is_success:
        return f"its address answers {answer.status_code}"
    return "" if answer.content == data else "another content is read"


def _advice(settings: Settings) -> str:
    if settings.artifacts.kind == "local":
        return "make the folder writable, or set artifacts.folder (OURVIDZ_ARTIFACTS__FOLDER)"
    return (
        "`ourvidz-worker migrate` makes the buckets and policies; other names are set by "
        "artifacts.images, artifacts.videos and artifacts.thumbnails"
    )
