"""The bytes on disk: one file for each version of an object, named by the version alone."""

import hashlib
import shutil
from collections.abc import AsyncIterable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from devstack.storage.errors import StorageError

_MEBIBYTE = 1024**2


@dataclass(frozen=True)
class Received:
    """A file that has arrived.

    Attributes:
        version: Its name on disk.
        size: Its length in bytes.
        etag: A digest of its content.
    """

    version: str
    size: int
    etag: str


class Files:
    """A folder of files.

    Args:
        folder: Where they lie; created when missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, version: str) -> Path:
        """Return where a version lies."""
        # Versions come from rows that clients may write; only a UUID ever becomes a path.
        return self._folder / str(UUID(version))

    def create(self) -> str:
        """Make an empty file and return its version."""
        version = str(uuid4())
        self.path(version).touch()
        return version

    async def receive(self, chunks: AsyncIterable[bytes], limit: int | None) -> Received:
        """Write a new file; nothing stays of one that is too large or breaks off."""
        version = self.create()
        try:
            await self.append(version, chunks, limit)
            return self.finish(version)
        except BaseException:
            self.remove(version)
            raise

    async def append(self, version: str, chunks: AsyncIterable[bytes], limit: int | None) -> None:
        """Add to a file; what arrived before a break stays."""
        size = self.size(version)
        with self.path(version).open("ab") as file:
            async for chunk in chunks:
                size += len(chunk)
                if limit is not None and size > limit:
                    message = "The object exceeded the maximum allowed size"
                    raise StorageError(413, "Payload too large", message)
                file.write(chunk)

    def finish(self, version: str) -> Received:
        """Describe a complete file."""
        digest = hashlib.md5(usedforsecurity=False)
        with self.path(version).open("rb") as file:
            while chunk := file.read(_MEBIBYTE):
                digest.update(chunk)
        return Received(version, self.size(version), f'"{digest.hexdigest()}"')

    def size(self, version: str) -> int:
        """Return the length of a file in bytes."""
        return self.path(version).stat().st_size

    def copy(self, version: str) -> str:
        """Duplicate a file and return the new version."""
        duplicate = str(uuid4())
        shutil.copyfile(self.path(version), self.path(duplicate))
        return duplicate

    def remove(self, version: str | None) -> None:
        """Remove a file, if it is there."""
        if version is not None:
            self.path(version).unlink(missing_ok=True)
