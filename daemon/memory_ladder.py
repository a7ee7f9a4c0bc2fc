"""What is tried when a run runs out of memory that it was promised. Pure.

    as asked -> alone on the device -> tiled, one at a time -> offloaded -> VRAM_OVERFLOW

Each rung is tried once; how far down a model can go, its engine says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from daemon.values import AdmissionRequest
from handlers.base import Saving


@dataclass(frozen=True, slots=True)
class Rung:
    """How a run is tried: with the device for itself, and saving memory."""

    exclusive: bool = False
    saving: Saving = Saving.NONE

    def below(self, savings: int) -> "Rung | None":
        """Return what to try next, for a model that can save so far; None: nothing is left."""
        if not self.exclusive:
            return Rung(exclusive=True)
        if self.saving < savings:
            return Rung(exclusive=True, saving=Saving(self.saving + 1))
        return None

    def request(self, asked: AdmissionRequest) -> AdmissionRequest:
        """Return the wish for the GPU on this rung."""
        return replace(asked, exclusive=True) if self.exclusive else asked

    def params(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the run's parameters on this rung."""
        return {**asked, "saving": int(self.saving)} if self.saving else asked

    @property
    def words(self) -> str:
        """What had been done for the run on this rung."""
        if self.saving:
            return f"also alone on the device and {self.saving.name.lower()}"
        return "also alone on the device"


AS_ASKED = Rung()
