"""What admission needs around it: a clock that calls, and a pool that moves models."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from daemon.engine_ports import Engine, KeptEngine

if TYPE_CHECKING:
    from daemon.admission import GpuAdmissions


class Timer(Protocol):
    """A call that is to come. `asyncio.TimerHandle` fulfils it."""

    def cancel(self) -> None:
        """Don't call."""
        ...


class Clock(Protocol):
    """Monotonic seconds and later calls. An asyncio event loop fulfils it."""

    def time(self) -> float:
        """Return the seconds now."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call at that moment."""
        ...

    def call_soon(self, callback: Callable[[], None]) -> object:
        """Call in the loop's next turn."""
        ...


class EngineHands(Protocol):
    """What admission needs of `daemon.engines.pool.EnginePool`."""

    def report_to(self, reports: "GpuAdmissions") -> None:
        """Say who hears of loads, unloads and deaths."""
        ...

    def engine(self, model: str, device: int) -> Engine:
        """Return the engine that holds the model."""
        ...

    def load(self, model: str, device: int) -> None:
        """Begin to load, from the host's memory if its engine waits there."""
        ...

    def offload(self, model: str, device: int) -> None:
        """Begin to move the weights to the host's memory."""
        ...

    def unload(self, model: str, device: int) -> None:
        """Begin to unload."""
        ...

    def adopt(self, kept: KeptEngine) -> None:
        """Own an engine that is loaded already."""
        ...
