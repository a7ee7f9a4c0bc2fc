"""Result files in a local folder: for one machine, or behind a web server of one's own."""

import asyncio
import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

from daemon.artifacts.paths import path_of
from daemon.jobs import ErrorCode, Job, JobError
from daemon.values import Artifact, ArtifactFile

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FEW_BYTES = 64 * 2**20
"""`check` complains below this: a short video takes as much."""


class LocalArtifacts:
    """Keeps files as `{root}/{bucket}/{path}`; a file is there whole or not at all.

    Args:
        root: the folder; it is made when the first file is saved.
        buckets: the bucket of each kind of file.
        public_url: what URLs start with, such as `https://files.example.org`; empty: file URLs.
    """

    def __init__(self, root: Path, buckets: Mapping[str, str], public_url: str = "") -> None:
        self._root = root.expanduser().resolve()
        self._buckets = buckets
        self._public_url = public_url.rstrip("/")

    async def save(self, job: Job, number: int, file: ArtifactFile) -> Artifact:
        """Write the file in a thread, then rename it to its place."""
        bucket, path = self._buckets[file.kind], path_of(job, number, file)
        target = self._place(bucket, path)
        try:
            await asyncio.to_thread(_write, target, file.data)
        except OSError as error:
            raise _job_error(error, self._root) from error
        return Artifact(
            kind=file.kind,
            bucket=bucket,
            path=path,
            url=self._url(target, bucket, path),
            content_type=file.content_type,
            size=len(file.data),
        )

    async def remove(self, artifacts: Sequence[Artifact]) -> None:
        """Remove the files, and their job's folder when it is empty then."""
        for artifact in artifacts:
            target = self._place(artifact.bucket, artifact.path)
            try:
                await asyncio.to_thread(_remove, target)
            except OSError as error:
                raise _job_error(error, self._root) from error

    async def check(self) -> list[str]:
        """Return a sentence for each thing that would make saving fail."""
        return await asyncio.to_thread(self._check)

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _check(self) -> list[str]:
        probe = self._root / f".probe-{uuid4().hex}"
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
            free = shutil.disk_usage(self._root).free
        except OSError as error:
            return [f"the artifact folder {self._root} can't be written: {error.strerror}"]
        if free < _FEW_BYTES:
            return [f"the disk of the artifact folder {self._root} has {free >> 20} MiB left"]
        return []

    def _place(self, bucket: str, path: str) -> Path:
        """Return where a file lies; whatever the path says, that is inside the root."""
        target = (self._root / bucket / path).resolve()
        if not target.is_relative_to(self._root / bucket):
            raise JobError(
                ErrorCode.GENERATION_FAILED, f'the path "{path}" leaves its bucket "{bucket}"'
            )
        return target

    def _url(self, target: Path, bucket: str, path: str) -> str:
        if self._public_url:
            return f"{self._public_url}/{quote(f'{bucket}/{path}')}"
        return target.as_uri()


def _write(target: Path, data: bytes) -> None:
    """Write beside the target and rename: a reader sees the whole file or none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with unfinished.open("xb") as out:
            out.write(data)
            out.flush()
            # The row will say that the file exists; a power cut must not make that a lie.
            os.fsync(out.fileno())
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _remove(target: Path) -> None:
    target.unlink(missing_ok=True)
    with suppress(OSError):  # Not empty, or gone already: both are fine.
        target.parent.rmdir()


def _job_error(error: OSError, root: Path) -> JobError:
    """Say what the disk said. Retryable: an operator can make room or correct rights meanwhile."""
    if error.errno in _FULL:
        sentence = f"the disk of the artifact folder {root} is full"
    else:
        sentence = f"the artifact folder {root} can't be written: {error.strerror}"
    return JobError(ErrorCode.NETWORK_ERROR, sentence)
