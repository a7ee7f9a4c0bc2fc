"""Scripted stand-ins for the ports, for tests of one part alone: they do what a test tells them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from daemon.jobs import Finish, Job, JobError, LeaseState, Progress, Recorded
from daemon.values import (
    NO_WAIT,
    AdmissionRequest,
    Artifact,
    ArtifactFile,
    Backlog,
    Canary,
    Demand,
    QueueForecast,
    RunOutput,
    StepReport,
    SweepResult,
    Waits,
    WorkerIdentity,
)


def a_job(**changes: Any) -> Job:
    """Return a claimed chat job, with changes."""
    facts: dict[str, Any] = {
        "id": uuid4(),
        "user_id": uuid4(),
        "job_type": "chat",
        "request": {"prompt": "hello"},
        "claim_id": uuid4(),
        "attempt": 1,
        "max_attempts": 3,
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return Job(**{**facts, **changes})


@dataclass
class ScriptedStore:
    """A store whose answers are queued by the test; an exception in a queue is raised."""

    claims: list[list[Job] | Exception] = field(default_factory=list)
    renewals: list[dict[UUID, LeaseState] | Exception] = field(default_factory=list)
    progress_states: list[dict[UUID, LeaseState] | Exception] = field(default_factory=list)
    sweeps: list[SweepResult | Exception] = field(default_factory=list)
    claim_requests: list[tuple[UUID, list[Demand]]] = field(default_factory=list)
    renewed: list[list[UUID]] = field(default_factory=list)
    reported: list[list[Progress]] = field(default_factory=list)
    sweeps_asked: list[bool] = field(default_factory=list)
    told: list[int | Exception] = field(default_factory=list)
    foretold: list[tuple[str, list[QueueForecast], int, float]] = field(default_factory=list)
    claimed_empty: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False

    async def check_schema(self) -> None:
        return

    async def claim(
        self, worker: WorkerIdentity, request_id: UUID, demands: Sequence[Demand], lease_s: float
    ) -> list[Job]:
        self.claim_requests.append((request_id, list(demands)))
        if not self.claims:
            self.claimed_empty.set()
        return _answer(self.claims, [])

    async def renew(self, claims: Sequence[UUID], lease_s: float) -> dict[UUID, LeaseState]:
        self.renewed.append(list(claims))
        return _answer(self.renewals, dict.fromkeys(claims, LeaseState.HELD))

    async def progress(self, reports: Sequence[Progress]) -> dict[UUID, LeaseState]:
        self.reported.append(list(reports))
        held = {report.claim_id: LeaseState.HELD for report in reports}
        return _answer(self.progress_states, held)

    async def finish(self, finishes: Sequence[Finish]) -> dict[UUID, Recorded]:
        raise AssertionError("finishes go through the recorder")

    async def sweep(self, worker: WorkerIdentity, *, predecessor: bool = False) -> SweepResult:
        self.sweeps_asked.append(predecessor)
        return _answer(self.sweeps, SweepResult(0, 0, None))

    async def beat_canary(self, min_age_s: float) -> Canary:
        raise NotImplementedError

    async def queue_summary(self) -> list[Backlog]:
        return []

    async def foretell(
        self, worker_id: str, forecasts: Sequence[QueueForecast], limit: int, every_s: float
    ) -> int:
        self.foretold.append((worker_id, list(forecasts), limit, every_s))
        return int(_answer(self.told, 0))

    async def aclose(self) -> None:
        self.closed = True


def _answer(queue: list[Any], otherwise: Any) -> Any:
    answer = queue.pop(0) if queue else otherwise
    if isinstance(answer, Exception):
        raise answer
    return answer


@dataclass
class ScriptedRecorder:
    """Takes outcomes; `answers` are returned or raised in order, then RECORDED."""

    answers: list[Recorded | Exception] = field(default_factory=list)
    finishes: list[Finish] = field(default_factory=list)

    async def finish(self, finish: Finish) -> Recorded:
        self.finishes.append(finish)
        return _answer(self.answers, Recorded.RECORDED)


@dataclass
class ScriptedEngine:
    """An engine whose run is a function of the test's."""

    runs: Callable[[str, Mapping[str, Any], Callable[[StepReport], None]], Any]
    cancelled: list[str] = field(default_factory=list)
    waited: Waits = NO_WAIT
    savings: int = 0

    async def run(
        self,
        run_id: str,
        handler: str,
        params: Mapping[str, Any],
        progress: Callable[[StepReport], None],
    ) -> RunOutput:
        output = await self.runs(run_id, params, progress)
        assert isinstance(output, RunOutput)
        return output

    def cancel(self, run_id: str) -> None:
        self.cancelled.append(run_id)


@dataclass
class OpenAdmissions:
    """Admits everybody to one engine at once, and counts who is inside.

    `refusals` are raised by the next admissions, in order; None admits.
    """

    engine: ScriptedEngine
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    inside: int = 0
    requests: list[AdmissionRequest] = field(default_factory=list)
    refusals: list[JobError | None] = field(default_factory=list)
    waits: Waits = NO_WAIT
    """What everybody has waited for who waits at the gate."""

    def __post_init__(self) -> None:
        self.gate.set()

    def demand(self) -> Sequence[Demand]:
        return [Demand(("chat",), 1)]

    @asynccontextmanager
    async def admit(self, request: AdmissionRequest, loads: Any = None) -> Any:
        self.requests.append(request)
        await self.gate.wait()
        if (refusal := self.refusals.pop(0) if self.refusals else None) is not None:
            raise refusal
        self.inside += 1
        try:
            yield self.engine
        finally:
            self.inside -= 1

    def waited(self, request_id: str) -> Waits:
        return self.waits


@dataclass
class MemoryArtifacts:
    """Keeps files in a dictionary; `failing` is raised by the next save."""

    files: dict[str, bytes] = field(default_factory=dict)
    failing: Exception | None = None

    async def save(self, job: Job, number: int, file: ArtifactFile) -> Artifact:
        if self.failing is not None:
            raise self.failing
        path = f"{job.user_id}/{job.id}/{job.claim_id}-{number}.{file.extension}"
        self.files[path] = file.data
        return Artifact(
            file.kind, "bucket", path, f"memory:{path}", file.content_type, len(file.data)
        )

    async def remove(self, artifacts: Sequence[Artifact]) -> None:
        for artifact in artifacts:
            self.files.pop(artifact.path, None)

    async def check(self) -> list[str]:
        return []

    async def aclose(self) -> None:
        return
