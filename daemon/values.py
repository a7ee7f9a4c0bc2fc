"""What crosses the seams of `ports`: plain values, and the errors that both sides know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from daemon.jobs import ErrorCode, JobError


class StoreUnavailableError(Exception):
    """The database can't be reached or gave no answer: the call may or may not have happened.

    Every call of the store is idempotent, so the caller simply calls again.
    """


class StoreRejectedError(Exception):
    """The database answered and refused: a trigger, a constraint, a missing right."""


class SchemaMismatchError(Exception):
    """The database isn't migrated, or is newer than this daemon; the message says which."""


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """Who claims: `worker_id` survives a restart, `instance_id` doesn't.

    A restarted worker takes back at once what its dead predecessor held.
    """

    worker_id: str
    instance_id: UUID


@dataclass(frozen=True, slots=True)
class Demand:
    """How many jobs, at most `count`, of any of `job_types` the scheduler can take now."""

    job_types: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep did and when the next one is due.

    Attributes:
        rescued: jobs put back into the queue because their lease had expired.
        failed: jobs failed because no attempt was left, or their type is unknown.
        next_due_s: seconds until a lease expires or a delayed job becomes due; None: nothing
            in sight.
    """

    rescued: int
    failed: int
    next_due_s: float | None


@dataclass(frozen=True, slots=True)
class Canary:
    """The last canary that was sent through the wake-up sources, by whichever worker.

    Attributes:
        serial: counts up with each one.
        age_s: seconds since it was sent, by the database's clock.
        broadcast: whether the database can send Realtime broadcasts.
    """

    serial: int
    age_s: float
    broadcast: bool


@dataclass(frozen=True, slots=True)
class Backlog:
    """One job type's place in the queue. Ages are seconds by the database's clock."""

    job_type: str
    queued: int
    processing: int
    oldest_queued_s: float | None


@dataclass(frozen=True, slots=True)
class QueueForecast:
    """When a worker would end the table's jobs of some types, if it were alone with them.

    Attributes:
        job_types: of one class of the scheduler, whose jobs stand in one queue.
        ends_s: seconds from now until the first, the second, … of them ends.
        each_s: what each further one adds; None: nobody knows.
    """

    job_types: tuple[str, ...]
    ends_s: tuple[float, ...]
    each_s: float | None


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """A result file, as the engine made it."""

    kind: str
    """`image`, `video` or `thumbnail`: picks the bucket."""
    content_type: str
    extension: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Artifact:
    """A stored result file. `url` is None where the bucket is private and nothing signs."""

    kind: str
    bucket: str
    path: str
    url: str | None
    content_type: str
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of a run, from the engine, and what is new since the last one that came.

    Attributes:
        fraction: 0.0 to 1.0 of the whole run.
        text: the next piece of a chat's answer; all pieces together are the answer.
        preview: a small JPEG of what is drawn so far.
    """

    current_step: str
    fraction: float
    step: int | None = None
    steps: int | None = None
    text: str = ""
    preview: bytes | None = None


@dataclass(frozen=True, slots=True)
class RunOutput:
    """What a run made: the result's JSON fields, its files, and what it cost.

    Attributes:
        fields: JSON for the row's `result` (a chat's answer; an image's metadata).
        files: result files in order; empty for chat.
        peak_bytes: the engine's measured peak during the run, weights included; None if it
            can't measure.
        timings: seconds by phase inside the engine.
        held_bytes: what the engine holds after the run with no other run in it; None while there
            is one, and if it can't measure. What grows from run to run is a leak.
    """

    fields: Mapping[str, Any]
    files: Sequence[ArtifactFile]
    peak_bytes: int | None
    timings: Mapping[str, float]
    held_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model is in a device's memory, from disk or from the host's memory.

    Attributes:
        weights_bytes: what it holds there.
        seconds: what the move took.
        offloads: whether its weights can wait in the host's memory.
        savings: how far its runs can go to save memory, see `handlers.base.Saving`.
    """

    weights_bytes: int
    seconds: float
    offloads: bool = False
    savings: int = 0


@dataclass(frozen=True, slots=True)
class Offloaded:
    """A model's weights wait in the host's memory; its engine lives on.

    Attributes:
        left_bytes: what the engine still holds on the device, such as its CUDA context.
        host_bytes: what the weights hold in the host's memory.
        seconds: what the move took.
    """

    left_bytes: int
    host_bytes: int
    seconds: float


class Loss(StrEnum):
    """In which way an engine was lost."""

    CRASHED = "crashed"
    """The process ended by itself: a segfault, an exit."""
    HUNG = "hung"
    """No step of a run and no answer to a ping came in time: it was killed."""
    POISONED = "poisoned"
    """Its device context is broken (a CUDA error): every later run would fail too."""
    KILLED = "killed"
    """Somebody else killed it, as the kernel does when the host's memory runs out."""
    STOPPED = "stopped"
    """The worker itself ended it."""
    GONE = "gone"
    """It had ended before the run came to it."""


@dataclass(frozen=True, slots=True)
class EngineEnd:
    """How an engine ended: in which way, and a sentence for people."""

    loss: Loss
    reason: str


class EngineLostError(Exception):
    """The engine process ended or was killed with the run in it; `reason` says how."""

    def __init__(self, reason: str, loss: Loss = Loss.CRASHED) -> None:
        super().__init__(reason)
        self.reason = reason
        self.loss = loss


class RunCancelledError(Exception):
    """The run stopped at a step because it was asked to."""


class RefusedError(JobError):
    """A request that waited and can't be granted; `waited` says for how long it did, and why."""

    def __init__(self, error_code: ErrorCode, message: str, waited: "Waits") -> None:
        super().__init__(error_code, message)
        self.waited = waited


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """One job's wish for the GPU; `created_s` is when its wait began, monotonic seconds."""

    id: str
    model: str
    quality: str
    user: str | None
    created_s: float
    interactive: bool = False
    """Somebody waits for it: ahead of batch work."""
    alone: bool = False
    """Nothing else may run in the model's engine: it may have ended one before."""
    size: int = 0
    """Pixels of all frames, rounded up to a power of two; 0 where there are none."""
    batch: int = 1
    """How many results are computed at once."""
    priority: int = 0
    """Higher goes first within its class."""
    exclusive: bool = False
    """Nothing else may be on the device: the memory ran out although it was promised."""


class Waits(NamedTuple):
    """Seconds that a request has waited for the GPU, by reason; see `scheduling.reasons`."""

    queue: float
    vram: float
    switch: float
    load: float

    def since(self, before: "Waits") -> "Waits":
        """Return what has been added since an earlier reading."""
        return Waits(*(now - then for now, then in zip(self, before, strict=True)))

    def plus(self, more: "Waits") -> "Waits":
        """Return the sum of both."""
        return Waits(*(one + other for one, other in zip(self, more, strict=True)))


NO_WAIT = Waits(0.0, 0.0, 0.0, 0.0)
