"""A job, the claim on it, and the outcome of a run: pure values, no I/O.

    queued --claim--> processing --finish--> completed | failed | cancelled
      ^                   |
      +--- release, retry, rescue

Every write after a claim names its `claim_id`. A claim is never given twice, so a write with an
old one changes nothing: the run is *stale* and its work is thrown away.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class Status(StrEnum):
    """Where a job row is in its life; the same words as the SQL check constraint."""

    QUEUED = "queued"
    """Waits to be claimed; `run_after` may lie in the future after a retry."""
    PROCESSING = "processing"
    """Claimed: one open run in `job_runs` holds the lease."""
    COMPLETED = "completed"
    """Ended with a result."""
    FAILED = "failed"
    """Ended with `error` and `error_code`."""
    CANCELLED = "cancelled"
    """Ended because its owner asked for it."""


class ErrorCode(StrEnum):
    """The error codes that a frontend may see in a row or an HTTP answer."""

    VRAM_OVERFLOW = "VRAM_OVERFLOW"
    MODEL_LOAD_FAILED = "MODEL_LOAD_FAILED"
    INVALID_PROMPT = "INVALID_PROMPT"
    GENERATION_FAILED = "GENERATION_FAILED"
    NETWORK_ERROR = "NETWORK_ERROR"
    DATABASE_ERROR = "DATABASE_ERROR"
    SYSTEM_PROMPT_MISSING = "SYSTEM_PROMPT_MISSING"


RETRYABLE: frozenset[ErrorCode] = frozenset({ErrorCode.NETWORK_ERROR, ErrorCode.DATABASE_ERROR})
"""Errors that another try may cure; every other one fails the job at once."""

BACKOFF_FACTOR = 2.0
"""Delay before the nth retry is `BACKOFF_FACTOR ** (n - 1)` seconds: 1, 2, 4."""


class LeaseState(StrEnum):
    """What the database says of a claim when it is renewed or reports progress."""

    HELD = "held"
    CANCELLED = "cancelled"
    """The owner cancelled the job: stop at the next step, then finish as cancelled."""
    LOST = "lost"
    """Somebody else owns the job, or it ended: stop, write nothing."""


class Recorded(StrEnum):
    """What became of a finish or a release."""

    RECORDED = "recorded"
    """Written now, or by an earlier call of the same claim whose reply was lost."""
    STALE = "stale"
    """The claim no longer owns the job: nothing was written."""


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed row: what is to be done, for whom, and the claim under which it is done.

    `request` is the row's metadata as its author wrote it: untrusted, of any JSON type.
    """

    id: UUID
    user_id: UUID | None
    job_type: str
    request: Any
    claim_id: UUID
    attempt: int
    """The number of this counted try, from 1."""
    max_attempts: int
    created_at: datetime
    original_prompt: str | None = None
    """The prompt column that an existing table may have."""
    hinted_s: float | None = field(default=None, compare=False)
    """Seconds, at the claim, since wake-up sources should have announced it; None: none does."""
    engine_losses: int = 0
    """How many earlier runs of this job ended with a lost engine."""
    queued_s: float = 0.0
    """Seconds, at the claim, since the job became due."""
    priority: int = 0
    caller: str = ""
    """Who asks, where there is no user: the name of an HTTP key."""
    foretold_s: float | None = field(default=None, compare=False)
    """In how many seconds, at the claim, its row said that it would end; None: it said nothing."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The run succeeded; `result` is what the row publishes."""

    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """The run ended with an error that no further try may cure."""

    error: str
    error_code: ErrorCode
    engine_lost: bool = False
    """The error is the end of the engine."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The run ended with an error that another try may cure, `delay_s` seconds from now.

    The database turns it into a failure when no attempt is left.
    """

    error: str
    error_code: ErrorCode
    delay_s: float


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The run stopped because the owner cancelled the job."""


@dataclass(frozen=True, slots=True)
class Released:
    """The run stopped for no reason of the job's own: it goes back, uncounted."""

    reason: str
    engine_lost: bool = False
    """The engine ended under the run: whoever of its jobs did it will do it again, alone."""


Outcome = Completed | Failed | Retry | Cancelled | Released


@dataclass(frozen=True, slots=True)
class Finish:
    """The fenced end of one run. `timings` are seconds by phase, kept in `job_runs`."""

    claim_id: UUID
    outcome: Outcome
    timings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: `percent` 0 to 100, the step's name, and the expected end.

    `timings` says where the job's time went; it is asked when the report is written.
    """

    claim_id: UUID
    percent: int
    current_step: str
    estimated_completion: datetime | None = None
    timings: Callable[[], Mapping[str, float]] = field(default=dict, compare=False)


class JobError(Exception):
    """An error that has a place in the row: a sentence for people and a code for programs."""

    def __init__(self, error_code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.message = message


def outcome_of(error: JobError, attempt: int) -> Failed | Retry:
    """Turn an error of the nth attempt into the outcome that is recorded."""
    if error.error_code in RETRYABLE:
        return Retry(error.message, error.error_code, BACKOFF_FACTOR ** (attempt - 1))
    return Failed(error.message, error.error_code)
