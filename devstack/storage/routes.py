"""All routes of Storage, in the order in which their paths must be tried."""

from pathlib import Path

from aiohttp import web

from devstack.identity import Gate, Pool
from devstack.storage.buckets import Buckets
from devstack.storage.downloads import Downloads
from devstack.storage.files import Files
from devstack.storage.listing import Listing
from devstack.storage.resumable import Resumable
from devstack.storage.service import Service
from devstack.storage.uploads import Uploads


class Storage:
    """Answers requests for buckets and files.

    Args:
        pool: Connections as the database's owner; requests run under their sender's role.
        gate: Tells who asks.
        folder: Where the files lie.
        jwt_secret: What signed URLs are signed with.
    """

    def __init__(self, pool: Pool, gate: Gate, folder: Path, jwt_secret: str) -> None:
        self._service = Service(pool, gate, Files(folder), jwt_secret)

    def routes(self) -> list[web.RouteDef]:
        """Return all routes, relative to the server's root."""
        uploads = Uploads(self._service)
        return [
            *Buckets(self._service).routes(),
            *Resumable(self._service, uploads).routes(),
            *Listing(self._service).routes(),
            *Downloads(self._service).routes(),
            *uploads.routes(),
        ]
