"""Where a model's weights are on one device, and how that may change.

    cold --LOAD--> loading --LOADED--> resident --EVICT--> evicting --GONE--> cold
     ^              |   ^                 |
     +--- FAILED ---+   +--LOAD-- host <--+ OFFLOAD, by way of offloading

Cold weights are on disk alone, host ones in an engine that waits without a device's bytes. An
engine is evicted from wherever it is; a lost one is an eviction that nobody asked for, and its
bytes too come back only with GONE.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from daemon.jobs import ErrorCode
from daemon.scheduling.leaks import LeakWatch
from daemon.scheduling.models import ModelSpec


class Residency(StrEnum):
    """Where the weights are."""

    COLD = "cold"
    LOADING = "loading"
    RESIDENT = "resident"
    OFFLOADING = "offloading"
    HOST = "host"
    EVICTING = "evicting"


class Change(StrEnum):
    """What may happen to a residency."""

    LOAD = "load"
    LOADED = "loaded"
    FAILED = "failed"
    OFFLOAD = "offload"
    OFFLOADED = "offloaded"
    EVICT = "evict"
    GONE = "gone"


_TRANSITIONS = {
    (Residency.COLD, Change.LOAD): Residency.LOADING,
    (Residency.LOADING, Change.LOADED): Residency.RESIDENT,
    (Residency.LOADING, Change.FAILED): Residency.COLD,
    (Residency.RESIDENT, Change.OFFLOAD): Residency.OFFLOADING,
    (Residency.OFFLOADING, Change.OFFLOADED): Residency.HOST,
    (Residency.HOST, Change.LOAD): Residency.LOADING,
    (Residency.RESIDENT, Change.EVICT): Residency.EVICTING,
    (Residency.OFFLOADING, Change.EVICT): Residency.EVICTING,
    (Residency.HOST, Change.EVICT): Residency.EVICTING,
    (Residency.EVICTING, Change.GONE): Residency.COLD,
}

PRESENT = frozenset({Residency.LOADING, Residency.RESIDENT})
"""The weights are on the device or on their way to it."""

AWAY = frozenset({Residency.COLD, Residency.HOST})
"""The weights are elsewhere, and a load may begin."""

HOLDING = PRESENT | {Residency.HOST}
"""The engine holds bytes of the device, and would give them back if it went."""

LEAVING = frozenset({Residency.OFFLOADING, Residency.EVICTING})
"""The device's bytes are on their way back."""


class TransitionError(AssertionError):
    """An event that can't happen in this state: an error in the caller."""


@dataclass(slots=True, eq=False)
class Placement:
    """One model on one device."""

    model: ModelSpec
    device: int
    residency: Residency = Residency.COLD
    changed_s: float = 0.0
    """When the residency last changed."""
    load_number: int = 0
    """Counts loads, so that a run of a lost engine isn't taken for one of its successor."""
    restoring: bool = False
    """The present or last load came from the host's memory."""
    offloads: bool = False
    """The engine can move its weights to the host's memory."""
    savings: int = 0
    """How far the engine's runs can go to save memory, see `handlers.base.Saving`."""
    doomed: bool = False
    """The engine leaks: it takes no more runs and goes."""
    leak: LeakWatch = field(default_factory=LeakWatch)
    unweighed: int = 0
    """Runs that have ended beside others since the engine was last idle."""
    weighing: bool = False
    """It takes no runs until it is idle, so that what it holds can be measured."""
    runs: int = 0
    """Runs that the present engine holds."""
    runs_by_quality: dict[str, int] = field(default_factory=dict)
    served: int = 0
    """Runs that were started since the load."""
    in_vain: bool = False
    """None was started after the load before that one."""
    ends_s: dict[str, float] = field(default_factory=dict)
    """When each of these runs is expected to end."""
    idle_since_s: float = 0.0
    """Since when nothing runs here; means something only while `runs` is 0."""
    most_reserved: int = 0
    """The most bytes that were promised at once to the runs that overlap the present ones."""

    @property
    def closed(self) -> bool:
        """Whether its engine takes no runs at present, whatever its slots."""
        return self.doomed or self.weighing

    def drained_s(self, now: float) -> float:
        """Return when the last of the runs is expected to end; `now` if that is past or none is."""
        return max(now, *self.ends_s.values()) if self.ends_s else now

    def advance(self, change: Change) -> None:
        """Apply one change; raises `TransitionError` where the table has none."""
        following = _TRANSITIONS.get((self.residency, change))
        if following is None:
            raise TransitionError(
                f"{self.model.name} on device {self.device} is {self.residency}: no {change}"
            )
        self.residency = following


@dataclass(slots=True, eq=False)
class BackOff:
    """Failed loads of one model, and until when no other is tried. Seconds."""

    base_s: float = 5.0
    cap_s: float = 60.0
    failures: int = 0
    until_s: float = 0.0
    error_code: ErrorCode = ErrorCode.MODEL_LOAD_FAILED
    message: str = ""

    def failed(self, error_code: ErrorCode, message: str, now: float) -> None:
        """Count a failed load: twice as long a pause as after the one before, up to the cap."""
        pause = min(self.cap_s, self.base_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        self.until_s = now + pause
        self.error_code = error_code
        self.message = message

    def succeeded(self) -> None:
        """Forget failures: the model has loaded."""
        self.failures = 0
        self.until_s = 0.0

    def active(self, now: float) -> bool:
        """Whether no load may be tried yet."""
        return now < self.until_s
