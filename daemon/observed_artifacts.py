"""An artifact store that is watched: each call is timed and counted, whoever makes it."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from daemon.jobs import Job, JobError
from daemon.ports import ArtifactStore
from daemon.values import Artifact, ArtifactFile

Answer = TypeVar("Answer")


class ArtifactEvents(Protocol):
    """Hears of calls, for metrics."""

    def called(self, call: str, seconds: float, *, ok: bool) -> None:
        """Take a call's name, and what it took; one that was broken off isn't told."""
        ...

    def saved(self, kind: str, n_bytes: int) -> None:
        """Take the kind and the size of a file that was stored."""
        ...


@dataclass(frozen=True)
class ObservedArtifacts:
    """Passes every call on to `artifacts`, and tells `events` how it went."""

    artifacts: ArtifactStore
    events: ArtifactEvents
    clock: Callable[[], float] = time.monotonic

    async def save(self, job: Job, number: int, file: ArtifactFile) -> Artifact:
        """See `ArtifactStore.save`."""
        artifact = await self._watched("save", self.artifacts.save(job, number, file))
        self.events.saved(artifact.kind, artifact.size)
        return artifact

    async def remove(self, artifacts: Sequence[Artifact]) -> None:
        """See `ArtifactStore.remove`."""
        await self._watched("remove", self.artifacts.remove(artifacts))

    async def check(self) -> list[str]:
        """See `ArtifactStore.check`."""
        return await self._watched("check", self.artifacts.check())

    async def aclose(self) -> None:
        """See `ArtifactStore.aclose`."""
        await self.artifacts.aclose()

    async def _watched(self, name: str, call: Awaitable[Answer]) -> Answer:
        began = self.clock()
        try:
            answer = await call
        except JobError:
            self.events.called(name, self.clock() - began, ok=False)
            raise
        self.events.called(name, self.clock() - began, ok=True)
        return answer
