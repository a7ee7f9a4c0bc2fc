"""Files that are given back with the answer, as data URLs, instead of being stored."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from uuid import UUID

from daemon.artifacts.paths import path_of
from daemon.jobs import Job
from daemon.ports import ArtifactStore
from daemon.values import Artifact, ArtifactFile


class InlineArtifacts:
    """Implements `ArtifactStore` by another, but for the runs whose files are wanted inline.

    Args:
        store: where all other files go.
        is_inline: says so of a claim.
    """

    def __init__(self, store: ArtifactStore, is_inline: Callable[[UUID], bool]) -> None:
        self._store = store
        self._is_inline = is_inline

    async def save(self, job: Job, number: int, file: ArtifactFile) -> Artifact:
        """Put the file into its own URL, or store it."""
        if not self._is_inline(job.claim_id):
            return await self._store.save(job, number, file)
        data = b64encode(file.data).decode("ascii")
        return Artifact(
            kind=file.kind,
            bucket="",
            path=path_of(job, number, file),
            url=f"data:{file.content_type};base64,{data}",
            content_type=file.content_type,
            size=len(file.data),
        )

    async def remove(self, artifacts: Sequence[Artifact]) -> None:
        """Remove what was stored."""
        stored = [artifact for artifact in artifacts if artifact.bucket]
        if stored:
            await self._store.remove(stored)

    async def check(self) -> list[str]:
        """Say what is wrong with the store."""
        return await self._store.check()

    async def aclose(self) -> None:
        """Do nothing: whoever gave the store closes it."""
