"""Downloads: by token, public, or by signed URL; and what is known about an object."""

import json
from urllib.parse import quote

import asyncpg
from aiohttp import web

from devstack.storage import objects
from devstack.storage.errors import StorageError, no_bucket, no_object
from devstack.storage.service import Service, body_of
from devstack.storage.signing import opened, signed_path

_ROOT = "/storage/v1/object"
_NAME = "{bucket}/{name:.+}"
_SIGNED_KIND = "object/sign"
_UNSEEN = "Either the object does not exist or you do not have access to it"


class Downloads:
    """Routes that give a file.

    Args:
        service: What all routes share.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        """Return them; the last one takes every path that the others leave."""
        answering = self._service.answering
        return [
            web.get(f"{_ROOT}/public/{_NAME}", answering(self._public)),
            web.get(f"{_ROOT}/sign/{_NAME}", answering(self._by_signature)),
            web.post(f"{_ROOT}/sign/{_NAME}", answering(self._sign)),
            web.post(f"{_ROOT}/sign/{{bucket}}", answering(self._sign_many)),
            web.get(f"{_ROOT}/info/public/{_NAME}", answering(self._public_info)),
            web.get(f"{_ROOT}/info/authenticated/{_NAME}", answering(self._info)),
            web.get(f"{_ROOT}/info/{_NAME}", answering(self._info)),
            web.get(f"{_ROOT}/authenticated/{_NAME}", answering(self._authenticated)),
            web.get(f"{_ROOT}/{_NAME}", answering(self._authenticated)),
        ]

    async def _authenticated(self, request: web.Request) -> web.StreamResponse:
        return self._file(request, await self._visible(request))

    async def _public(self, request: web.Request) -> web.StreamResponse:
        return self._file(request, await self._in_public(request))

    async def _by_signature(self, request: web.Request) -> web.StreamResponse:
        path = f"{request.match_info['bucket']}/{request.match_info['name']}"
        token = request.query.get("token", "")
        opened(self._service.jwt_secret, _SIGNED_KIND, path, token)
        return self._file(request, await self._any(request))

    async def _info(self, request: web.Request) -> web.Response:
        return _described(await self._visible(request))

    async def _public_info(self, request: web.Request) -> web.Response:
        return _described(await self._in_public(request))

    async def _sign(self, request: web.Request) -> web.Response:
        seconds = _seconds(await body_of(request))
        await self._visible(request)
        path = f"{request.match_info['bucket']}/{request.match_info['name']}"
        url, _ = signed_path(self._service.jwt_secret, _SIGNED_KIND, path, seconds)
        return web.json_response({"signedURL": url})

    async def _sign_many(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        seconds, bucket = _seconds(body), request.match_info["bucket"]
        names = [str(name) for name in body.get("paths", [])]
        async with self._service.transaction(request) as connection:
            rows = await connection.fetch(
                "select name from storage.objects where bucket_id = $1 and name = any($2)",
                bucket,
                names,
            )
        visible = {row["name"] for row in rows}
        answer = []
        for name in names:
            url = None
            if name in visible:
                path = f"{bucket}/{name}"
                url, _ = signed_path(self._service.jwt_secret, _SIGNED_KIND, path, seconds)
            error = None if url else _UNSEEN
            answer.append({"error": error, "path": name, "signedURL": url})
        return web.json_response(answer)

    async def _visible(self, request: web.Request) -> asyncpg.Record:
        """Return the row under the sender's role."""
        names = request.match_info
        async with self._service.transaction(request) as connection:
            return await objects.find(connection, names["bucket"], names["name"])

    async def _in_public(self, request: web.Request) -> asyncpg.Record:
        """Return the row of an object in a public bucket."""
        bucket = await objects.bucket(self._service.pool, request.match_info["bucket"])
        if not bucket.public:
            raise no_bucket()
        return await self._any(request)

    async def _any(self, request: web.Request) -> asyncpg.Record:
        """Return the row whoever asks."""
        async with self._service.pool.acquire() as connection:
            names = request.match_info
            return await objects.find(connection, names["bucket"], names["name"])

    def _file(self, request: web.Request, row: asyncpg.Record) -> web.StreamResponse:
        path = self._service.files.path(row["version"])
        if not path.exists():
            raise no_object()
        metadata = json.loads(row["metadata"] or "{}")
        headers = {
            "Content-Type": metadata.get("mimetype", "application/octet-stream"),
            "Cache-Control": metadata.get("cacheControl", "no-cache"),
        }
        if (wanted := request.query.get("download")) is not None:
            filename = quote(wanted or row["name"].rpartition("/")[2])
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{filename}"
        return web.FileResponse(path, headers=headers)


def _seconds(body: dict[str, object]) -> int:
    try:
        return int(str(body["expiresIn"]))
    except (KeyError, ValueError):
        raise StorageError(400, "Error", "body must have a number expiresIn") from None


def _described(row: asyncpg.Record) -> web.Response:
    metadata = json.loads(row["metadata"] or "{}")
    return web.json_response(
        {
            "id": str(row["id"]),
            "name": row["name"],
            "version": row["version"],
            "bucket_id": row["bucket_id"],
            "size": metadata.get("size"),
            "content_type": metadata.get("mimetype"),
            "cache_control": metadata.get("cacheControl"),
            "etag": metadata.get("eTag"),
            "metadata": json.loads(row["user_metadata"] or "{}"),
            "last_modified": row["updated_at"].isoformat(),
            "created_at": row["created_at"].isoformat(),
        }
    )
