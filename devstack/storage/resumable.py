"""Resumable uploads by the TUS protocol 1.0.0: create, send from where it broke off, finish.

An upload is a file that grows; its length is the offset, so that a broken request needs no repair.
The last byte makes it an object. Unfinished uploads are forgotten when the stack stops.
"""

import base64
import secrets
from dataclasses import dataclass

from aiohttp import web

from devstack.identity import Identity
from devstack.storage import objects
from devstack.storage.errors import StorageError, no_object
from devstack.storage.objects import Upload, checked_key
from devstack.storage.service import Answer, Service
from devstack.storage.uploads import Uploads, wants_replace

_ROOT = "/storage/v1/upload/resumable"
_VERSION = {"Tus-Resumable": "1.0.0"}
_ABILITIES = {
    "Tus-Version": "1.0.0",
    "Tus-Extension": "creation,creation-with-upload,termination",
}
_CONTENT_TYPE = "application/offset+octet-stream"
_CHUNK = 256 * 1024


@dataclass
class Unfinished:
    """An upload on its way.

    Attributes:
        upload: What it will be.
        version: The file that grows.
        length: How long it will be.
        is_busy: Whether a request is writing to it.
    """

    upload: Upload
    version: str
    length: int
    is_busy: bool = False


class Resumable:
    """Routes below `/storage/v1/upload/resumable`.

    Args:
        service: What all routes share.
        uploads: How a complete file becomes an object.
    """

    def __init__(self, service: Service, uploads: Uploads) -> None:
        self._service = service
        self._uploads = uploads
        self._unfinished: dict[str, Unfinished] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return them."""
        one = _ROOT + "/{id}"
        return [
            *(web.options(root, self._answering(self._abilities)) for root in (_ROOT, f"{_ROOT}/")),
            *(web.post(root, self._answering(self._create)) for root in (_ROOT, f"{_ROOT}/")),
            web.head(one, self._answering(self._offset)),
            web.patch(one, self._answering(self._append)),
            web.delete(one, self._answering(self._abandon)),
        ]

    def _answering(self, work: Answer) -> Answer:
        answering = self._service.answering(work)

        async def handle(request: web.Request) -> web.StreamResponse:
            response = await answering(request)
            response.headers.update(_VERSION)
            return response

        return handle

    async def _abilities(self, _: web.Request) -> web.Response:
        return web.Response(status=204, headers=_ABILITIES)

    async def _create(self, request: web.Request) -> web.Response:
        identity = self._service.identify(request)
        length = int(request.headers.get("Upload-Length", "-1"))
        if length < 0:
            raise StorageError(400, "Error", "Upload-Length is required")
        notes = _notes(request.headers.get("Upload-Metadata", ""))
        bucket = await objects.bucket(self._service.pool, notes.get("bucketName", ""))
        if bucket.size_limit is not None and length > bucket.size_limit:
            message = "The object exceeded the maximum allowed size"
            raise StorageError(413, "Payload too large", message, http=413)
        upload = Upload(
            bucket,
            checked_key(notes.get("objectName", "")),
            notes.get("contentType", "application/octet-stream"),
            f"max-age={notes['cacheControl']}" if "cacheControl" in notes else "no-cache",
            wants_replace(request),
            notes.get("metadata"),
        )
        bucket.admit(upload.content_type)
        await self._uploads.try_out(request, identity, upload)
        name = secrets.token_urlsafe(24)
        self._unfinished[name] = Unfinished(upload, self._service.files.create(), length)
        headers = {"Location": str(request.url.with_path(f"{_ROOT}/{name}").with_query(None))}
        if request.content_type == _CONTENT_TYPE or length == 0:
            headers["Upload-Offset"] = str(await self._receive(request, identity, name))
        return web.Response(status=201, headers=headers)

    async def _offset(self, request: web.Request) -> web.Response:
        self._service.identify(request)
        unfinished = self._find(request)
        size = self._service.files.size(unfinished.version)
        headers = {"Upload-Offset": str(size), "Upload-Length": str(unfinished.length)}
        return web.Response(headers=headers | {"Cache-Control": "no-store"})

    async def _append(self, request: web.Request) -> web.Response:
        identity = self._service.identify(request)
        unfinished = self._find(request)
        if request.content_type != _CONTENT_TYPE:
            raise StorageError(415, "Error", f"Content-Type must be {_CONTENT_TYPE}", http=415)
        size = self._service.files.size(unfinished.version)
        if unfinished.is_busy or request.headers.get("Upload-Offset") != str(size):
            raise StorageError(409, "Error", "Upload-Offset conflict", http=409)
        offset = await self._receive(request, identity, request.match_info["id"])
        return web.Response(status=204, headers={"Upload-Offset": str(offset)})

    async def _abandon(self, request: web.Request) -> web.Response:
        self._service.identify(request)
        self._service.files.remove(self._find(request).version)
        del self._unfinished[request.match_info["id"]]
        return web.Response(status=204)

    async def _receive(self, request: web.Request, identity: Identity, name: str) -> int:
        """Write a request's body and return the new offset; the last byte finishes the upload."""
        unfinished, files = self._unfinished[name], self._service.files
        unfinished.is_busy = True
        try:
            chunks = request.content.iter_chunked(_CHUNK)
            await files.append(unfinished.version, chunks, unfinished.length)
            offset = files.size(unfinished.version)
            if offset == unfinished.length:
                del self._unfinished[name]
                received = files.finish(unfinished.version)
                await self._uploads.publish(request, identity, unfinished.upload, received)
            return offset
        finally:
            unfinished.is_busy = False

    def _find(self, request: web.Request) -> Unfinished:
        unfinished = self._unfinished.get(request.match_info["id"])
        if unfinished is None:
            missing = no_object()
            missing.http = 404
            raise missing
        return unfinished


def _notes(header: str) -> dict[str, str]:
    """Read `Upload-Metadata`: names and base64 values."""
    notes = {}
    for item in header.split(","):
        name, _, value = item.strip().partition(" ")
        if name:
            notes[name] = base64.b64decode(value).decode()
    return notes
