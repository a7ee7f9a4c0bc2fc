"""Rows of `storage.objects` and `storage.buckets`, read and written under the sender's role."""

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from devstack.identity import Connection, Identity, Pool
from devstack.storage.errors import StorageError, invalid_key, no_bucket, no_object
from devstack.storage.files import Received

_KEY = re.compile(r"[A-Za-z0-9_/!\-.*'() &$@=;:+,?]+")
_INSERT = """
    insert into storage.objects
        (bucket_id, name, owner, owner_id, version, metadata, user_metadata)
    values ($1, $2, $3, $4, $5, $6, $7)
"""
_REPLACE = """
    on conflict (bucket_id, name) do update set
        version = excluded.version, metadata = excluded.metadata, owner = excluded.owner,
        owner_id = excluded.owner_id, user_metadata = excluded.user_metadata, updated_at = now()
"""


@dataclass(frozen=True)
class Bucket:
    """What a bucket allows.

    Attributes:
        id: Its name.
        public: Whether everybody may download.
        size_limit: The largest file in bytes, None for no limit.
        types: The content types it takes (`image/*`), None for all.
    """

    id: str
    public: bool
    size_limit: int | None
    types: list[str] | None

    def admit(self, content_type: str) -> None:
        """Refuse a content type that the bucket doesn't take."""
        kind = content_type.partition(";")[0].strip().lower()
        family = f"{kind.partition('/')[0]}/*"
        if self.types and kind not in self.types and family not in self.types:
            raise StorageError(415, "invalid_mime_type", f"mime type {kind} is not supported")


@dataclass(frozen=True)
class Upload:
    """An object to be.

    Attributes:
        bucket: Where it goes.
        name: Its name there.
        content_type: What it is.
        cache_control: How long it may be kept, as the header says it.
        replace: Whether it may take the place of an object of that name.
        user_metadata: What the client noted about it.
    """

    bucket: Bucket
    name: str
    content_type: str = "application/octet-stream"
    cache_control: str = "no-cache"
    replace: bool = False
    user_metadata: str | None = None

    def described(self, **changes: Any) -> "Upload":
        """Return it with other attributes."""
        return replace(self, **changes)


def checked_key(name: str) -> str:
    """Return a name that an object can have, or refuse it."""
    parts = name.split("/")
    if not _KEY.fullmatch(name) or any(part in {"", ".", ".."} for part in parts):
        raise invalid_key(name)
    return name


async def bucket(pool: Pool, name: str) -> Bucket:
    """Find a bucket; the rules of its rows don't matter for using it."""
    row = await pool.fetchrow(
        "select id, public, file_size_limit, allowed_mime_types from storage.buckets where id = $1",
        name,
    )
    if row is None:
        raise no_bucket()
    return Bucket(row["id"], bool(row["public"]), row["file_size_limit"], row["allowed_mime_types"])


async def store(
    connection: Connection, identity: Identity, upload: Upload, received: Received
) -> None:
    """Write the row of a file that has arrived."""
    metadata = {
        "eTag": received.etag,
        "size": received.size,
        "mimetype": upload.content_type,
        "cacheControl": upload.cache_control,
        "lastModified": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "contentLength": received.size,
        "httpStatusCode": 200,
    }
    await connection.execute(
        _INSERT + (_REPLACE if upload.replace else ""),
        upload.bucket.id,
        upload.name,
        _as_uuid(identity.user_id),
        identity.user_id,
        received.version,
        json.dumps(metadata),
        upload.user_metadata,
    )


async def find(connection: Connection, bucket_id: str, name: str) -> asyncpg.Record:
    """Return the row of an object that the sender may see."""
    row = await connection.fetchrow(
        "select id, name, bucket_id, version, metadata, user_metadata, created_at, updated_at"
        " from storage.objects where bucket_id = $1 and name = $2",
        bucket_id,
        name,
    )
    if row is None:
        raise no_object()
    return row


async def version_of(pool: Pool, bucket_id: str, name: str) -> str | None:
    """Return the version that an upload is about to replace."""
    version: str | None = await pool.fetchval(
        "select version from storage.objects where bucket_id = $1 and name = $2", bucket_id, name
    )
    return version


def _as_uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
