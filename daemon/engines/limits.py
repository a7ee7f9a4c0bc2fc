"""How long an engine may take for what it does. Seconds."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """When an engine is taken for hung.

    Attributes:
        hang_floor_s: no run is hung before so long without a step, and no move of weights before
            the engine did nothing at all for so long.
        hang_factor: nor before so many times its handler's longest gap between two steps.
        ping_every_s: between two pings.
        ping_within_s: in which a ping must be answered; five times as long while weights move.
    """

    hang_floor_s: float = 120.0
    hang_factor: float = 10.0
    ping_every_s: float = 10.0
    ping_within_s: float = 60.0

    @property
    def look_every_s(self) -> float:
        """How often to look: often enough for the shortest of the limits."""
        return min(1.0, self.hang_floor_s / 4, self.ping_every_s / 2, self.ping_within_s / 4)


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How long an engine may take.

    Attributes:
        load_s: to start and load; cold weights come from slow disks. Also for weights to move to
            the host's memory and back.
        cancel_s: to stop a run that is cancelled. One step of a film may take this long; an
            engine that doesn't stop is killed, with the other runs in it.
        health: without a sign of life; then it is killed.
    """

    load_s: float = 900.0
    cancel_s: float = 60.0
    health: HealthLimits = field(default_factory=HealthLimits)
