"""What the daemon consists of once it is built, and what is asked of all of it; see `building`."""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_random_exponential,
)

from daemon.admission import GpuAdmissions
from daemon.answering import Answering
from daemon.broadcaster import Broadcaster
from daemon.charging import Charging
from daemon.engines.pool import EnginePool
from daemon.executor import Executor
from daemon.foretelling import Foreteller
from daemon.intake import Intake
from daemon.jobs import JobError
from daemon.leases import Leases
from daemon.observed import ObservedStore
from daemon.outside import Outside
from daemon.ports import ArtifactStore, WakeUp
from daemon.progress import ProgressWriter
from daemon.queue_telling import QueueTeller
from daemon.scheduling.figures import Learner
from daemon.startup import StartupError
from daemon.store.outbox import Outbox
from daemon.values import SchemaMismatchError, StoreRejectedError, StoreUnavailableError
from daemon.wakeups.patience import wake_for
from daemon.wakeups.proof import ProofOfLife, ProvableSource
from daemon.wakeups.sweep import SweepTimer

_ANY_AGE_S = 3600.0
"""A canary so old is as good as a new one to learn what the database can do."""

_REFUSED = (
    "the database refuses this worker (check SUPABASE_KEY and SUPABASE_WORKER_TOKEN, or "
    "DATABASE_URL; its role needs the rights of ourvidz_worker)"
)

_log = structlog.get_logger("daemon.parts")


@dataclass(frozen=True)
class Parts:
    """Everything that runs, in the order in which it is built."""

    store: ObservedStore
    artifacts: ArtifactStore
    pool: EnginePool
    admissions: GpuAdmissions
    leases: Leases
    progress: ProgressWriter
    outbox: Outbox
    executor: Executor
    answering: Answering
    intake: Intake
    sources: list[ProvableSource]
    proof: ProofOfLife
    sweeps: SweepTimer
    foreteller: Foreteller
    queue_teller: QueueTeller | None
    charging: Charging
    broadcaster: Broadcaster | None
    outside: Outside
    learner: Learner

    def services(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the jobs, until it is cancelled."""
        wake = self.intake.wake
        return [
            self.leases.run(),
            self.progress.run(),
            self.outbox.run(),
            self.sweeps.run(wake),
            self.proof.run(),
            self.foreteller.run(),
            self.charging.run(),
            *([self.queue_teller.run()] if self.queue_teller else []),
            *([self.broadcaster.run()] if self.broadcaster else []),
            *self.outside.services(self),
            *(source.run(self._wake_for(source)) for source in self.sources),
        ]

    def _wake_for(self, source: ProvableSource) -> WakeUp:
        stats = self.intake.stats
        return wake_for(source, self.sources, self.proof, self.intake.wake, lambda: stats.looked_at)

    async def await_schema(self) -> None:
        """Return when the database has this daemon's schema, however long it is away.

        Sources that need what this database doesn't have are dropped.

        Raises:
            StartupError: it has another schema, or refuses the worker.
        """
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailableError),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            before_sleep=_say_waiting,
        ):
            with attempt:
                try:
                    await self.store.check_schema()
                    await self._drop_sources()
                except SchemaMismatchError as error:
                    raise StartupError(str(error)) from error
                except StoreRejectedError as error:
                    raise StartupError(f"{_REFUSED}: {error}") from error

    async def _drop_sources(self) -> None:
        named = {source.name: source for source in self.sources}
        # The first canary of this worker; sources hear the next one.
        if "broadcast" in named and not (await self.store.beat_canary(_ANY_AGE_S)).broadcast:
            self.sources.remove(named["broadcast"])

    async def check_artifacts(self) -> list[str]:
        """Return what would make every upload fail; storage that is only away is no reason."""
        try:
            return await self.artifacts.check()
        except JobError as error:
            _log.warning("artifact store not checked", error=str(error))
            return []

    async def aclose(self) -> None:
        """Close the connections; the last thing of all."""
        await self.artifacts.aclose()
        await self.store.aclose()


def _say_waiting(state: RetryCallState) -> None:
    if state.attempt_number == 1:
        error = state.outcome.exception() if state.outcome else None
        _log.warning("waiting for the database", error=str(error))
