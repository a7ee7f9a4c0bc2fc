"""What the side server tells of the daemon: the one seam between the two.

The server starts before anything else of the daemon is built and stops last, so whoever stands
behind `Reports` answers from the first moment, with what is known then. A figure that isn't known
is None, never a guess.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from daemon.job_types import Model
from daemon.telemetry.gpu import GpuSample
from daemon.telemetry.host import HostSample
from daemon.telemetry.stats import Performance
from daemon.values import Backlog


class Phase(StrEnum):
    """Where the daemon is in its life."""

    STARTING = "starting"
    """Building its parts, or not yet connected: no job is taken."""
    SERVING = "serving"
    """Takes jobs."""
    DRAINING = "draining"
    """Finishes what it holds and takes nothing new."""


class ModelState(StrEnum):
    """What may be said of a model's weights to somebody who waits for them."""

    LOADED = "loaded"
    LOADING = "loading"
    EVICTING = "evicting"
    HOST = "host"
    """Waits in the host's memory."""
    UNLOADED = "unloaded"
    FAILED = "failed"
    """The last load failed; the next job that needs it tries again."""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """One model that this worker serves; `name` as shown, such as "Qwen2.5-7B-Instruct"."""

    name: str
    state: ModelState
    device: int | None = None
    weights: int | None = None
    """Bytes that the loaded weights take."""


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """The scheduler's book of one device, in bytes.

    Attributes:
        index: the device's number.
        simulated: there is no GPU behind it; the sizes are a setting.
        capacity: what the device has.
        reserve: what is kept free.
        weights: what resident models take.
        reserved: what is promised to admitted jobs, beside the weights.
    """

    index: int
    simulated: bool
    capacity: int
    reserve: int
    weights: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Health:
    """The answer to "are you well?", for `/health`.

    Attributes:
        worker_type: as configured.
        phase: where the daemon is in its life.
        reasons: a sentence for each thing that is wrong; empty: healthy. Shown without a key,
            so they name the part that fails, not addresses or users.
        uptime_s: seconds since the process started.
        active_jobs: jobs that are claimed or answered over HTTP at this moment.
        models: every model that this worker serves.
        gpus: the last sample of each GPU; empty without one.
        devices: the scheduler's books; empty until it is built.
    """

    worker_type: str
    phase: Phase
    uptime_s: float
    reasons: Sequence[str] = ()
    active_jobs: int = 0
    models: Mapping[Model, ModelReport] = field(default_factory=dict)
    gpus: Sequence[GpuSample] = ()
    devices: Sequence[DeviceReport] = ()


@dataclass(frozen=True, slots=True)
class StoreReport:
    """How the database answers. Ages are seconds; None: it never happened.

    Attributes:
        kind: `postgres` or `supabase`.
        last_ok_s: how long ago a call succeeded.
        last_error_s: how long ago one failed.
        last_error: what it said.
        calls: since the start.
        errors: since the start.
    """

    kind: str
    last_ok_s: float | None = None
    last_error_s: float | None = None
    last_error: str | None = None
    calls: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class LeaseReport:
    """The leases of this worker. `last_renewed_s` is how many seconds ago they were extended."""

    held: int = 0
    lost: int = 0
    renew_failures: int = 0
    last_renewed_s: float | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that an operator wants to know, for `/status`.

    Attributes:
        health: as `/health` tells it.
        worker_id: survives restarts; the same in `job_runs`.
        version: of the daemon.
        performance: how the runs of this process went.
        host: last sample of disk and memory.
        store: how the database answers; None until it is built.
        leases: of the jobs held now.
        queue: the last count of waiting jobs by type; None: never counted.
        scheduler: its own snapshot, shown as it is.
        jobs: the jobs that are held: where each is, why it waits, when it is expected to end.
        forecast: how promised ends fared, and what the table's jobs will wait.
        wakeups: each source's state, by name, shown as it is.
        counters: anything else that is counted, shown as it is.
    """

    health: Health
    worker_id: str
    version: str
    performance: Performance = field(default_factory=Performance)
    host: HostSample | None = None
    store: StoreReport | None = None
    leases: LeaseReport = field(default_factory=LeaseReport)
    queue: Sequence[Backlog] | None = None
    scheduler: Mapping[str, Any] = field(default_factory=dict)
    jobs: Sequence[Mapping[str, Any]] = ()
    forecast: Mapping[str, Any] = field(default_factory=dict)
    wakeups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    counters: Mapping[str, float] = field(default_factory=dict)


class Reports(Protocol):
    """The daemon as its side server sees it.

    Every method answers at once from what is in memory: none waits for a GPU, a database or a
    lock, and none raises.
    """

    def health(self) -> Health:
        """Return what `/health` shows."""
        ...

    def ready(self) -> tuple[bool, Sequence[str]]:
        """Say whether new work is taken, with a sentence for each thing that stands against it."""
        ...

    def status(self) -> Status:
        """Return what `/status` shows."""
        ...

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        ...
