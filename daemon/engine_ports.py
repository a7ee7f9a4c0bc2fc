"""The seams between jobs, the right to use a device, and the processes that hold models."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from daemon.values import (
    AdmissionRequest,
    Demand,
    EngineEnd,
    Loaded,
    Offloaded,
    RunOutput,
    StepReport,
    Waits,
)


class ProgressSink(Protocol):
    """Takes each step of a run. It must not block."""

    def __call__(self, report: StepReport) -> None:
        """Take one step."""
        ...


class Engine(Protocol):
    """One process that holds one model. Owned by the pool; a killed engine is never reused."""

    async def load(self) -> Loaded:
        """Load the model.

        Raises:
            JobError: with MODEL_LOAD_FAILED or VRAM_OVERFLOW.
            EngineLostError: the process ended while loading.
        """
        ...

    async def offload(self) -> Offloaded:
        """Move the weights to the host's memory; no run may be in the engine.

        Raises:
            JobError: they couldn't be moved; the engine is of no further use.
            EngineLostError: the engine is gone.
        """
        ...

    async def restore(self) -> Loaded:
        """Move the weights back to the device after `offload`; raises as `load` does."""
        ...

    async def run(
        self, run_id: str, handler: str, params: Mapping[str, Any], progress: ProgressSink
    ) -> RunOutput:
        """Run to the end.

        When the caller is cancelled, the run is stopped at its next step, and the call ends only
        when it has really ended or the engine is dead.

        Raises:
            JobError: the run failed; the engine lives on.
            RunCancelledError: `cancel` stopped it.
            EngineLostError: the engine is gone.
        """
        ...

    def cancel(self, run_id: str) -> None:
        """Ask a run to stop at its next step; unknown ids are ignored."""
        ...

    async def stop(self, grace_s: float = 5.0) -> None:
        """End the process and its whole group; returns when it is gone for certain."""
        ...

    async def ended(self) -> EngineEnd:
        """Wait for the process to end by itself or by `stop`; return how it did.

        Also where it can't be ended: nothing more comes of it, and `stop` tells when it is gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class KeptEngine:
    """A loaded engine that nobody owns, between two pools: whoever has it must stop it or adopt it.

    `loaded` is what its load said: the bytes that it holds, and what it can do.
    """

    model: str
    device: int
    engine: Engine
    loaded: Loaded


class EngineFactory(Protocol):
    """Makes the engine of a model on a device; starting is part of `load`."""

    def __call__(self, model: str, device: int) -> Engine:
        """Return a new engine that hasn't started yet."""
        ...


class AdmittedEngine(Protocol):
    """An engine for the time of one admission.

    Attributes:
        waited: seconds that the request had waited for it, by reason.
        savings: how far a run may go to save memory, see `handlers.base.Saving`.
    """

    waited: Waits
    savings: int

    async def run(
        self, run_id: str, handler: str, params: Mapping[str, Any], progress: ProgressSink
    ) -> RunOutput:
        """Run to the end; see `Engine.run`."""
        ...

    def cancel(self, run_id: str) -> None:
        """Ask a run to stop at its next step."""
        ...


class Admissions(Protocol):
    """The right to use the GPU, as the scheduler grants it."""

    def demand(self) -> Sequence[Demand]:
        """Return the jobs that could be taken now; empty is backpressure."""
        ...

    def admit(
        self, request: AdmissionRequest, loads: Callable[[], None] = lambda: None
    ) -> AbstractAsyncContextManager[AdmittedEngine]:
        """Wait for a reservation on a loaded engine; leaving returns it.

        `loads` is called when its model begins to load while it waits.

        Raises `JobError` (MODEL_LOAD_FAILED, VRAM_OVERFLOW) when it can never be granted.
        """
        ...

    def waited(self, request_id: str) -> Waits:
        """Return the seconds that a request has waited so far; nothing if it doesn't wait."""
        ...
