"""Uploads in one request: a form as from storage3, a raw body as from supabase-js, or signed."""

import base64
import binascii
import json
from collections.abc import AsyncIterator
from uuid import uuid4

import aiohttp
from aiohttp import web

from devstack.identity import Identity
from devstack.storage import objects
from devstack.storage.errors import StorageError, no_object
from devstack.storage.files import Received
from devstack.storage.objects import Upload, checked_key
from devstack.storage.service import Service
from devstack.storage.signing import opened, signed_path

_OBJECT = "/storage/v1/object/{bucket}/{name:.+}"
_SIGNED_KIND = "object/upload/sign"
_SIGNED = f"/storage/v1/{_SIGNED_KIND}/{{bucket}}/{{name:.+}}"
_SIGNED_SECONDS = 2 * 3600
_CHUNK = 256 * 1024


class Uploads:
    """Routes that take a file.

    Args:
        service: What all routes share.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        """Return them."""
        answering = self._service.answering
        return [
            web.post(_SIGNED, answering(self._sign)),
            web.put(_SIGNED, answering(self._with_signature)),
            web.post(_OBJECT, answering(self._create)),
            web.put(_OBJECT, answering(self._update)),
        ]

    async def _create(self, request: web.Request) -> web.Response:
        identity = self._service.identify(request)
        return await self._take(request, identity, replace=wants_replace(request))

    async def _update(self, request: web.Request) -> web.Response:
        identity = self._service.identify(request)
        upload = await self.target(request)
        if await objects.version_of(self._service.pool, upload.bucket.id, upload.name) is None:
            raise no_object()
        return await self._take(request, identity, replace=True)

    async def _sign(self, request: web.Request) -> web.Response:
        identity = self._service.identify(request)
        upload = await self.target(request)
        upload = upload.described(replace=wants_replace(request))
        await self.try_out(request, identity, upload)
        path = f"{upload.bucket.id}/{upload.name}"
        claims = {"owner": identity.user_id, "upsert": upload.replace}
        secret = self._service.jwt_secret
        url, token = signed_path(secret, _SIGNED_KIND, path, _SIGNED_SECONDS, claims)
        return web.json_response({"url": url, "token": token})

    async def _with_signature(self, request: web.Request) -> web.Response:
        path = f"{request.match_info['bucket']}/{request.match_info['name']}"
        token = request.query.get("token", "")
        claims = opened(self._service.jwt_secret, _SIGNED_KIND, path, token)
        # Whether the signer may upload was decided when the URL was made.
        holder = Identity("service_role", {"role": "service_role", "sub": claims.get("owner")})
        return await self._take(request, holder, replace=bool(claims.get("upsert")))

    async def target(self, request: web.Request) -> Upload:
        """Return what the path of a request names."""
        bucket = await objects.bucket(self._service.pool, request.match_info["bucket"])
        return Upload(bucket, checked_key(request.match_info["name"]))

    async def _take(
        self, request: web.Request, identity: Identity, *, replace: bool
    ) -> web.Response:
        upload = (await self.target(request)).described(replace=replace)
        if request.content_type.startswith("multipart/"):
            upload, received = await self._form(request, upload)
        else:
            upload, received = await self._raw(request, upload)
        await self.publish(request, identity, upload, received)
        return web.json_response(
            {"Id": received.version, "Key": f"{upload.bucket.id}/{upload.name}"}
        )

    async def _raw(self, request: web.Request, upload: Upload) -> tuple[Upload, Received]:
        upload = upload.described(
            content_type=request.headers.get("Content-Type", upload.content_type),
            cache_control=request.headers.get("Cache-Control", upload.cache_control),
            user_metadata=decoded_metadata(request.headers.get("x-metadata")),
        )
        upload.bucket.admit(upload.content_type)
        chunks = request.content.iter_chunked(_CHUNK)
        return upload, await self._service.files.receive(chunks, upload.bucket.size_limit)

    async def _form(self, request: web.Request, upload: Upload) -> tuple[Upload, Received]:
        received = None
        try:
            async for part in await request.multipart():
                if not isinstance(part, aiohttp.BodyPartReader):
                    continue
                if part.filename is not None:
                    kind = part.headers.get("Content-Type", upload.content_type)
                    upload.bucket.admit(kind)
                    upload = upload.described(content_type=kind)
                    received = await self._service.files.receive(
                        _chunks(part), upload.bucket.size_limit
                    )
                elif part.name == "cacheControl":
                    upload = upload.described(cache_control=f"max-age={await part.text()}")
                elif part.name == "metadata":
                    upload = upload.described(user_metadata=_checked_json(await part.text()))
        except BaseException:
            self._service.files.remove(received.version if received else None)
            raise
        if received is None:
            raise StorageError(400, "Error", "the form has no file")
        return upload, received

    async def publish(
        self, request: web.Request, identity: Identity, upload: Upload, received: Received
    ) -> None:
        """Make a file that has arrived the object's content, if the sender may."""
        files, pool = self._service.files, self._service.pool
        before = await objects.version_of(pool, upload.bucket.id, upload.name)
        try:
            async with self._service.transaction(request, identity) as connection:
                await objects.store(connection, identity, upload, received)
        except BaseException:
            files.remove(received.version)
            raise
        files.remove(before)

    async def try_out(self, request: web.Request, identity: Identity, upload: Upload) -> None:
        """Refuse an upload that row level security or an existing object would stop."""
        nothing = Received(str(uuid4()), 0, "")
        async with self._service.transaction(request, identity) as connection:
            attempt = connection.transaction()
            await attempt.start()
            await objects.store(connection, identity, upload, nothing)
            await attempt.rollback()


def wants_replace(request: web.Request) -> bool:
    """Whether a request may replace an object."""
    return request.headers.get("x-upsert", "").lower() == "true"


def decoded_metadata(text: str | None) -> str | None:
    """Read a client's notes about a file: JSON in base64."""
    if not text:
        return None
    try:
        return _checked_json(base64.b64decode(text, validate=True).decode())
    except (binascii.Error, UnicodeDecodeError):
        raise StorageError(400, "Error", "metadata must be base64") from None


def _checked_json(text: str) -> str:
    try:
        json.loads(text)
    except ValueError:
        raise StorageError(400, "Error", "metadata must be JSON") from None
    return text


async def _chunks(part: aiohttp.BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(_CHUNK):
        yield bytes(chunk)
