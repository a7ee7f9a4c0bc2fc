"""Resumable upload of large files: the TUS protocol 1.0.0, as Supabase Storage speaks it.

An interrupted upload isn't started again: the server says how much it has, and the rest is sent.
"""

from base64 import b64encode
from collections.abc import Mapping

import httpx
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_base

from daemon.artifacts.failures import RefusedError, is_passing, refusal_of

CHUNK = 6 * 2**20
"""Bytes. Supabase takes chunks of exactly this size, but for the last one."""
_TRIES = 6
"""In a row, for one chunk: a server may keep an upload locked for a while after a cut."""
_PROTOCOL = {"Tus-Resumable": "1.0.0"}
_GONE = frozenset({404, 410})
_OFFSET_DIFFERS = 409
_LOCKED = 423
_NONSENSE = 502


class ResumableUpload:
    """One file's upload.

    Args:
        client: sends key and token with each request.
        endpoint: `…/storage/v1/upload/resumable`.
        wait: pause before a try after a failure.
    """

    def __init__(self, client: httpx.AsyncClient, endpoint: str, wait: wait_base) -> None:
        self._client = client
        self._endpoint = endpoint
        self._wait = wait

    async def send(self, data: bytes, metadata: Mapping[str, str]) -> None:
        """Upload the whole file.

        Args:
            data: the file.
            metadata: `bucketName`, `objectName`, `contentType`, `cacheControl`.

        Raises:
            RefusedError: Storage refuses the file.
            httpx.TransportError: it can't be reached, though tried again after each chunk.
        """
        try:
            await self._send_from_the_start(data, metadata)
        except RefusedError as error:
            if error.status not in _GONE:
                raise
            # The server knows nothing of the upload: it has expired, or the answer that ended
            # it was lost. Then the file is there, and the second try is refused as a duplicate.
            await self._send_from_the_start(data, metadata)

    async def _send_from_the_start(self, data: bytes, metadata: Mapping[str, str]) -> None:
        location = await self._create(len(data), metadata)
        offset = 0
        while offset < len(data):
            offset = await self._send_chunk(location, data, offset)

    async def _create(self, size: int, metadata: Mapping[str, str]) -> str:
        encoded = ",".join(
            f"{name} {b64encode(value.encode()).decode()}" for name, value in metadata.items()
        )
        headers = {"Upload-Length": str(size), "Upload-Metadata": encoded, "x-upsert": "false"}
        async for attempt in self._retrying():
            with attempt:
                response = await self._request("POST", self._endpoint, headers)
                location = _header(response, "Location").rstrip("/")
                # Behind a proxy the server may misname its own address, and the token goes
                # to the one that was set, and to no other.
                return f"{self._endpoint}/{location.rsplit('/', 1)[-1]}"
        raise AssertionError("This can't happen because the last failed attempt raises.")

    async def _send_chunk(self, location: str, data: bytes, offset: int) -> int:
        """Send what follows `offset`; return how much the server has then.

        A chunk whose answer was lost may have arrived: before it is sent again, the server is
        asked.
        """
        certain = True
        async for attempt in self._retrying():
            with attempt:
                if not certain:
                    offset = _offset(await self._request("HEAD", location))
                    certain = True
                if offset >= len(data):
                    return offset
                certain = False
                headers = {
                    "Upload-Offset": str(offset),
                    "Content-Type": "application/offset+octet-stream",
                }
                chunk = data[offset : offset + CHUNK]
                return await self._patch(location, headers, chunk)
        raise AssertionError("This can't happen because the last failed attempt raises.")

    async def _patch(self, location: str, headers: Mapping[str, str], chunk: bytes) -> int:
        try:
            reached = _offset(await self._request("PATCH", location, headers, chunk))
        except RefusedError as error:
            if error.status != _OFFSET_DIFFERS:
                raise
            # Here it isn't said of the file, which would mean that it is there already.
            raise RefusedError(_LOCKED, error.code, error.message) from error
        if reached <= int(headers["Upload-Offset"]):
            raise RefusedError(_NONSENSE, "", "the upload doesn't advance")
        return reached

    def _retrying(self) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception(is_passing),
            stop=stop_after_attempt(_TRIES),
            wait=self._wait,
            reraise=True,
        )

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str] = {}, content: bytes | None = None
    ) -> httpx.Response:
        response = await self._client.request(
            method, url, headers={**_PROTOCOL, **headers}, content=content
        )
        if response.is_error:
            raise refusal_of(response)
        return response


def _header(response: httpx.Response, name: str) -> str:
    if name not in response.headers:
        raise RefusedError(_NONSENSE, "", f"an answer without {name}")
    return str(response.headers[name])


def _offset(response: httpx.Response) -> int:
    offset = _header(response, "Upload-Offset")
    if not offset.isdecimal():
        raise RefusedError(_NONSENSE, "", f"an Upload-Offset of {offset[:20]}")
    return int(offset)
