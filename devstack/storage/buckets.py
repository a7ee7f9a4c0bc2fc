"""Buckets: list, look up, create, change, empty, delete."""

import re
from typing import Any

from aiohttp import web

from devstack.storage.errors import StorageError, no_bucket
from devstack.storage.service import Service, body_of

_COLUMNS = """
    id, name, coalesce(owner::text, '') as owner, public, file_size_limit, allowed_mime_types,
    created_at, updated_at
"""
_UNITS = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3}


class Buckets:
    """Routes below `/storage/v1/bucket`.

    Args:
        service: What all routes share.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        """Return them."""
        bucket, answering = "/storage/v1/bucket", self._service.answering
        return [
            web.get(bucket, answering(self._list)),
            web.post(bucket, answering(self._create)),
            web.get(bucket + "/{bucket}", answering(self._read)),
            web.put(bucket + "/{bucket}", answering(self._update)),
            web.delete(bucket + "/{bucket}", answering(self._delete)),
            web.post(bucket + "/{bucket}/empty", answering(self._empty)),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        async with self._service.transaction(request) as connection:
            body = await connection.fetchval(
                f"select coalesce(json_agg(b order by b.name), '[]')::text"
                f" from (select {_COLUMNS} from storage.buckets) as b"
            )
        return web.Response(text=body, content_type="application/json")

    async def _read(self, request: web.Request) -> web.Response:
        async with self._service.transaction(request) as connection:
            body = await connection.fetchval(
                f"select to_json(b)::text from (select {_COLUMNS} from storage.buckets"
                " where id = $1) as b",
                request.match_info["bucket"],
            )
        if body is None:
            raise no_bucket()
        return web.Response(text=body, content_type="application/json")

    async def _create(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        name = body.get("name") or body.get("id")
        if not isinstance(name, str) or "/" in name or not name.strip():
            raise StorageError(400, "InvalidBucketName", f"Bucket name invalid: {name}")
        async with self._service.transaction(request) as connection:
            await connection.execute(
                "insert into storage.buckets (id, name, public, file_size_limit,"
                " allowed_mime_types) values ($1, $2, $3, $4, $5)",
                body.get("id") or name,
                name,
                bool(body.get("public")),
                _bytes(body.get("file_size_limit")),
                body.get("allowed_mime_types"),
            )
        return web.json_response({"name": name})

    async def _update(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        async with self._service.transaction(request) as connection:
            done = await connection.fetchval(
                "update storage.buckets set public = $2, file_size_limit = $3,"
                " allowed_mime_types = $4, updated_at = now() where id = $1 returning id",
                request.match_info["bucket"],
                bool(body.get("public")),
                _bytes(body.get("file_size_limit")),
                body.get("allowed_mime_types"),
            )
        if done is None:
            raise no_bucket()
        return web.json_response({"message": "Successfully updated"})

    async def _empty(self, request: web.Request) -> web.Response:
        async with self._service.transaction(request) as connection:
            rows = await connection.fetch(
                "delete from storage.objects where bucket_id = $1 returning version",
                request.match_info["bucket"],
            )
        for row in rows:
            self._service.files.remove(row["version"])
        return web.json_response({"message": "Successfully emptied"})

    async def _delete(self, request: web.Request) -> web.Response:
        name = request.match_info["bucket"]
        if await self._service.pool.fetchval(
            "select exists (select from storage.objects where bucket_id = $1)", name
        ):
            message = "The bucket you tried to delete is not empty"
            raise StorageError(409, "InvalidRequest", message)
        async with self._service.transaction(request) as connection:
            done = await connection.fetchval(
                "delete from storage.buckets where id = $1 returning id", name
            )
        if done is None:
            raise no_bucket()
        return web.json_response({"message": "Successfully deleted"})


def _bytes(limit: Any) -> int | None:
    """Read a size limit, a number or text such as `50MB`."""
    if limit is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", str(limit))
    if not match or match[2].lower() not in _UNITS:
        raise StorageError(422, "InvalidFileSizeLimit", f"the requested file_size_limit is {limit}")
    return int(float(match[1]) * _UNITS[match[2].lower()])
