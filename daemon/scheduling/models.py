"""What a model needs and what a device has: plain values, and the check that they go together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

GIB = 2**30


def gib(n_bytes: int) -> str:
    """Return bytes as GPU tools show them, for sentences that people read."""
    return f"{n_bytes / GIB:.4g} GB"


@dataclass(frozen=True)
class QualitySpec:
    """One quality of a model: the whole footprint in bytes when `concurrency` runs go at once."""

    name: str
    footprint_bytes: int
    concurrency: int
    job_types: tuple[str, ...] = ()
    """The job types that ask for this model in this quality."""
    run_s: float = 10.0
    """Seconds that a run is expected to take, until some were seen."""
    weight: float = 1.0
    """What a second of waiting costs, against other classes' seconds."""


@dataclass(frozen=True)
class ModelSpec:
    """One model's share of a device. A model without memory has zero in every byte field.

    Some take at their load what their runs will need, as vLLM does for its KV cache: with
    `runs_included` the weights are all that the budget allows, and runs add nothing.
    """

    name: str
    budget_bytes: int
    weights_bytes: int
    max_concurrent: int
    qualities: Mapping[str, QualitySpec]
    load_s: float = 10.0
    """Seconds that a load from disk is expected to take, until some were seen."""
    restore_s: float = 2.0
    """The same of a load from the host's memory."""
    runs_included: bool = False

    def including_runs(self) -> "ModelSpec":
        """Return the same model as one that takes its whole budget at its load."""
        return replace(
            self,
            runs_included=True,
            weights_bytes=self.budget_bytes,
            qualities={
                name: replace(quality, footprint_bytes=self.budget_bytes)
                for name, quality in self.qualities.items()
            },
        )

    def activation_bytes(self, quality: str) -> int:
        """Return the bytes that one run adds: its part of the footprint above the weights."""
        spec = self.qualities[quality]
        return max(0, spec.footprint_bytes - self.weights_bytes) // spec.concurrency


@dataclass(frozen=True)
class DeviceSpec:
    """One device's memory. `reserve_bytes` stay free for the driver and for fragmentation."""

    index: int
    capacity_bytes: int
    reserve_bytes: int = 0

    @cached_property
    def usable_bytes(self) -> int:
        """Bytes that weights and reservations may take together."""
        return self.capacity_bytes - self.reserve_bytes


def check_fits(models: Iterable[ModelSpec], devices: Iterable[DeviceSpec]) -> list[str]:
    """Return a sentence, with the numbers, for each thing that could never run."""
    largest = max((device.usable_bytes for device in devices), default=0)
    return [problem for model in models for problem in _problems(model, largest)]


def _problems(model: ModelSpec, largest: int) -> Iterable[str]:
    if model.weights_bytes > model.budget_bytes:
        yield (
            f"model {model.name}: its weights take {gib(model.weights_bytes)}, "
            f"its budget is {gib(model.budget_bytes)}"
        )
    if model.budget_bytes > largest:
        yield (
            f"model {model.name}: its budget of {gib(model.budget_bytes)} is above the "
            f"{gib(largest)} that the largest device offers; "
            f"models.{model.name}.enabled = false leaves it out"
        )
    for quality in model.qualities.values():
        if quality.footprint_bytes > model.budget_bytes:
            yield (
                f"model {model.name}, quality {quality.name}: its footprint of "
                f"{gib(quality.footprint_bytes)} is above the budget of {gib(model.budget_bytes)}"
            )
        if quality.footprint_bytes < model.weights_bytes:
            yield (
                f"model {model.name}, quality {quality.name}: its footprint of "
                f"{gib(quality.footprint_bytes)} is below the weights of "
                f"{gib(model.weights_bytes)}"
            )
