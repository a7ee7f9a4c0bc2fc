"""Result files in Supabase Storage.

Small files go up in one request, large ones resumably. Both are tried again while the failure may
pass. "There is such a file already" is success: the path names our claim, so the earlier request
arrived and only its answer was lost.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import quote

import httpx
import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential
from tenacity.wait import wait_base

from daemon.artifacts.failures import RefusedError, is_passing, job_error, refusal_from
from daemon.artifacts.paths import path_of
from daemon.artifacts.resumable import CHUNK, ResumableUpload
from daemon.credentials import Credentials
from daemon.jobs import ErrorCode, Job, JobError
from daemon.values import Artifact, ArtifactFile

if TYPE_CHECKING:  # The package takes a moment to import: see `_connect`.
    from storage3 import AsyncStorageClient
    from storage3.types import FileOptions

_log = structlog.get_logger(__name__)
T = TypeVar("T")

_TRIES = 3
_CACHE_S = "31536000"
"""A file never changes under its path, so browsers may keep it for a year."""
_WEEK_S = 7 * 24 * 3600


class SupabaseArtifacts:
    """Keeps files in the project's buckets.

    Args:
        url: the project's address.
        credentials: of a role that may insert into and delete from `storage.objects`.
        buckets: the bucket of each kind of file.
        timeout_s: one request's limit, seconds without progress.
        signed_for_s: how long the URL of a file in a private bucket works, seconds.
        wait: pause before another try.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        buckets: Mapping[str, str],
        *,
        timeout_s: float,
        signed_for_s: float = _WEEK_S,
        wait: wait_base | None = None,
    ) -> None:
        self._base = f"{url.rstrip('/')}/storage/v1"
        self._headers = credentials.headers()
        self._buckets = buckets
        self._timeout_s = timeout_s
        self._signed_for_s = round(signed_for_s)
        self._wait = wait or wait_random_exponential(multiplier=0.5, max=8)
        self._connecting = asyncio.Lock()
        self._clients: _Clients | None = None
        self._closed = False
        self._public: dict[str, bool] = {}

    async def save(self, job: Job, number: int, file: ArtifactFile) -> Artifact:
        """Upload one file; the URL is None only when Storage gave none."""
        bucket, path = self._buckets[file.kind], path_of(job, number, file)
        try:
            if len(file.data) <= CHUNK:
                await self._upload(bucket, path, file)
            else:
                await self._upload_resumably(bucket, path, file)
        except (RefusedError, httpx.HTTPError) as error:
            if not (isinstance(error, RefusedError) and error.is_duplicate):
                raise job_error(error, bucket, len(file.data)) from error
        return Artifact(
            kind=file.kind,
            bucket=bucket,
            path=path,
            url=await self._url(bucket, path),
            content_type=file.content_type,
            size=len(file.data),
        )

    async def remove(self, artifacts: Sequence[Artifact]) -> None:
        """Remove files, one request per bucket; missing files are no error."""
        paths: dict[str, list[str]] = defaultdict(list)
        for artifact in artifacts:
            paths[artifact.bucket].append(artifact.path)
        for bucket, names in paths.items():
            storage = (await self._connect()).storage
            try:
                await self._trying(partial(storage.from_(bucket).remove, names))
            except (RefusedError, httpx.HTTPError) as error:
                if not (isinstance(error, RefusedError) and error.is_missing_bucket):
                    raise job_error(error, bucket, 0) from error

    async def check(self) -> list[str]:
        """Return a sentence for each missing bucket, or one if Storage can't be asked."""
        storage = (await self._connect()).storage
        sentences = []
        for bucket in sorted(set(self._buckets.values())):
            try:
                await self._trying(partial(storage.get_bucket, bucket))
            except RefusedError as error:
                sentences.append(job_error(error, bucket, 0).message)
            except httpx.HTTPError as error:
                return [job_error(error, bucket, 0).message]
        return sentences

    async def aclose(self) -> None:
        """Close the connections; later calls raise `JobError`."""
        self._closed = True
        if self._clients is not None:
            await self._clients.http.aclose()

    async def _upload(self, bucket: str, path: str, file: ArtifactFile) -> None:
        storage = (await self._connect()).storage
        options = {"content-type": file.content_type, "cache-control": _CACHE_S, "upsert": "false"}
        await self._trying(
            lambda: storage.from_(bucket).upload(path, file.data, cast("FileOptions", options))
        )

    async def _upload_resumably(self, bucket: str, path: str, file: ArtifactFile) -> None:
        http = (await self._connect()).http
        upload = ResumableUpload(http, f"{self._base}/upload/resumable", self._wait)
        metadata = {
            "bucketName": bucket,
            "objectName": path,
            "contentType": file.content_type,
            "cacheControl": _CACHE_S,
        }
        await upload.send(file.data, metadata)

    async def _url(self, bucket: str, path: str) -> str | None:
        """Return the file's address. The file is stored: no failure here may lose the run."""
        public = f"{self._base}/object/public/{quote(bucket)}/{quote(path)}"
        try:
            if await self._is_public(bucket, public):
                return public
            storage = (await self._connect()).storage
            signed = await self._trying(
                lambda: storage.from_(bucket).create_signed_url(path, self._signed_for_s)
            )
        except (RefusedError, httpx.HTTPError) as error:
            _log.warning("artifact_url_missing", bucket=bucket, path=path, reason=str(error))
            return None
        return signed["signedUrl"]

    async def _is_public(self, bucket: str, public: str) -> bool:
        """Ask the public address of a file that is there: that needs no right to see buckets."""
        if bucket not in self._public:
            http = (await self._connect()).http
            self._public[bucket] = await self._trying(partial(_is_readable, http, public))
        return self._public[bucket]

    async def _trying(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call up to three times while the failure may pass; raise httpx's or `RefusedError`."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(is_passing),
            stop=stop_after_attempt(_TRIES),
            wait=self._wait,
            reraise=True,
        ):
            with attempt:
                return await self._translating(call)
        raise AssertionError("This can't happen because the last failed attempt raises.")

    async def _translating(self, call: Callable[[], Awaitable[T]]) -> T:
        from storage3.exceptions import StorageApiError

        try:
            return await call()
        except StorageApiError as error:
            body = {"error": error.code, "message": error.message}
            raise refusal_from(error.status, body, http_status=500) from error
        except ValueError as error:  # A proxy's page where Storage would have sent JSON.
            raise RefusedError(502, "", f"an unreadable answer: {error}") from error

    async def _connect(self) -> "_Clients":
        """Return the clients; the first call makes them, in a thread: it reads certificates."""
        if self._closed:
            raise JobError(ErrorCode.NETWORK_ERROR, "the artifact store is closed")
        async with self._connecting:
            if self._clients is None:
                self._clients = await asyncio.to_thread(self._make_clients)
        return self._clients

    def _make_clients(self) -> "_Clients":
        from storage3 import AsyncStorageClient

        # One pool for all; HTTP/2 connections of long-lived processes are reset by the gateway.
        http = httpx.AsyncClient(headers=self._headers, timeout=self._timeout_s, http2=False)
        return _Clients(http, AsyncStorageClient(f"{self._base}/", self._headers, http_client=http))


@dataclass(frozen=True, slots=True)
class _Clients:
    """The package's client, and the connections that it shares with the resumable upload."""

    http: httpx.AsyncClient
    storage: "AsyncStorageClient"


async def _is_readable(http: httpx.AsyncClient, url: str) -> bool:
    response = await http.head(url)
    refused = RefusedError(response.status_code, "", "the public address gives no answer")
    if is_passing(refused):
        raise refused
    return response.is_success
