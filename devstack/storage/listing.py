"""Lists of objects, and what is done to them by name: remove, move, copy."""

from typing import Any

from aiohttp import web

from devstack.storage import objects
from devstack.storage.errors import StorageError, no_object
from devstack.storage.objects import checked_key
from devstack.storage.service import Service, body_of

_ROOT = "/storage/v1/object"
_SORTABLE = {"name", "created_at", "updated_at", "last_accessed_at"}
# A folder is no row, only the start of names; it shows as an entry without an id.
_LIST = """
    with visible as (
        select *, path_tokens[$3::int] as entry, array_length(path_tokens, 1) > $3 as in_folder
        from storage.objects
        where bucket_id = $1 and starts_with(name, $2)
    ), entries as (
        select entry as name, null::uuid as id, null::timestamptz as updated_at,
            null::timestamptz as created_at, null::timestamptz as last_accessed_at,
            null::jsonb as metadata
        from visible where in_folder group by entry
        union all
        select entry, id, updated_at, created_at, last_accessed_at, metadata
        from visible where not in_folder
    )
    select coalesce(json_agg(page), '[]')::text from (
        select * from entries where name ilike $4 order by {order} limit $5 offset $6
    ) as page
"""


class Listing:
    """Routes for many objects at once.

    Args:
        service: What all routes share.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        """Return them; two of them must come before a route for any name."""
        answering = self._service.answering
        return [
            web.post(f"{_ROOT}/list/{{bucket}}", answering(self._list)),
            web.post(f"{_ROOT}/move", answering(self._move)),
            web.post(f"{_ROOT}/copy", answering(self._copy)),
            web.delete(f"{_ROOT}/{{bucket}}", answering(self._remove)),
            web.delete(f"{_ROOT}/{{bucket}}/{{name:.+}}", answering(self._remove_one)),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        prefix = str(body.get("prefix") or "").strip("/")
        prefix = f"{prefix}/" if prefix else ""
        search = str(body.get("search") or "")
        async with self._service.transaction(request) as connection:
            text = await connection.fetchval(
                _LIST.format(order=_order(body.get("sortBy") or {})),
                request.match_info["bucket"],
                prefix,
                prefix.count("/") + 1,
                f"%{search}%",
                int(body.get("limit", 100)),
                int(body.get("offset", 0)),
            )
        return web.Response(text=text, content_type="application/json")

    async def _remove(self, request: web.Request) -> web.Response:
        names = [str(name) for name in (await body_of(request)).get("prefixes", [])]
        removed = await self._delete(request, names)
        return web.json_response(removed)

    async def _remove_one(self, request: web.Request) -> web.Response:
        if not await self._delete(request, [request.match_info["name"]]):
            raise no_object()
        return web.json_response({"message": "Successfully deleted"})

    async def _delete(self, request: web.Request, names: list[str]) -> list[dict[str, Any]]:
        async with self._service.transaction(request) as connection:
            rows = await connection.fetch(
                "delete from storage.objects where bucket_id = $1 and name = any($2)"
                " returning id, name, bucket_id, version",
                request.match_info["bucket"],
                names,
            )
        for row in rows:
            self._service.files.remove(row["version"])
        return [{"id": str(r["id"]), "name": r["name"], "bucket_id": r["bucket_id"]} for r in rows]

    async def _move(self, request: web.Request) -> web.Response:
        source, target = await _ends(request)
        async with self._service.transaction(request) as connection:
            done = await connection.fetchval(
                "update storage.objects set bucket_id = $3, name = $4, updated_at = now()"
                " where bucket_id = $1 and name = $2 returning id",
                *source,
                *target,
            )
        if done is None:
            raise no_object()
        return web.json_response({"message": "Successfully moved"})

    async def _copy(self, request: web.Request) -> web.Response:
        source, target = await _ends(request)
        identity = self._service.identify(request)
        files = self._service.files
        async with self._service.transaction(request, identity) as connection:
            row = await objects.find(connection, *source)
            version = files.copy(row["version"])
            try:
                done = await connection.fetchval(
                    "insert into storage.objects (bucket_id, name, owner_id, version, metadata)"
                    " values ($1, $2, $3, $4, $5) returning id",
                    *target,
                    identity.user_id,
                    version,
                    row["metadata"],
                )
            except BaseException:
                files.remove(version)
                raise
        return web.json_response({"Id": str(done), "Key": "/".join(target)})


async def _ends(request: web.Request) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return bucket and name of both ends of a move or copy."""
    body = await body_of(request)
    bucket = str(body.get("bucketId"))
    target = str(body.get("destinationBucket") or bucket)
    return (
        (bucket, str(body.get("sourceKey"))),
        (target, checked_key(str(body.get("destinationKey")))),
    )


def _order(wanted: dict[str, str]) -> str:
    column, direction = wanted.get("column", "name"), wanted.get("order", "asc")
    if column not in _SORTABLE or direction not in {"asc", "desc"}:
        raise StorageError(400, "Error", f"can't sort by {column} {direction}")
    return f"(id is null) desc, {column} {direction}"
