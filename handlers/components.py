"""A pipeline's components by what they do, and where their weights are.

    text       the text encoders
    denoiser   what takes the steps
    decoder    the autoencoder

Usually all are on the device, for all runs at once. A run that saves memory has the pipeline alone
and only the component that computes on the device.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

from handlers.base import Saving
from handlers.moving import Weights
from handlers.sharing import Sharing


class Part(Enum):
    """What a component does."""

    TEXT = "text"
    DENOISER = "denoiser"
    DECODER = "decoder"


class Components:
    """The weights of one pipeline; with `stay` something else moves them, or nothing can."""

    def __init__(self, pipeline: Any, device: Any, *, keep: bool, stay: bool = False) -> None:
        import torch

        modules: dict[Part, list[Any]] = {part: [] for part in Part}
        for name, module in pipeline.components.items():
            if isinstance(module, torch.nn.Module):
                modules[_part_of(name)].append(module)
        self._weights = {part: Weights(found, device, keep=keep) for part, found in modules.items()}
        self._stay = stay
        self._cuda = torch.device(device).type == "cuda"
        self._sharing = Sharing()
        self._restoring = threading.Lock()

    @property
    def movable(self) -> bool:
        """Whether they can move to the host's memory at all."""
        return not self._stay and all(weights.movable for weights in self._weights.values())

    def offload(self) -> int:
        """Move all to the host's memory; return the bytes that they take there."""
        for weights in self._weights.values():
            weights.to_host()
        return sum(weights.host_bytes for weights in self._weights.values())

    def restore(self) -> None:
        """Move all to the device."""
        with self._restoring:
            for weights in self._weights.values():
                weights.to_device()

    @contextmanager
    def use(self, saving: int) -> Iterator["Use"]:
        """Have the components for one run."""
        if saving < Saving.OFFLOADED or not self.movable:
            with self._sharing.shared():
                # They are there unless a run that had them alone couldn't bring them back.
                self.restore()
                yield Use(self, apart=False)
            return
        with self._sharing.alone():
            try:
                self.offload()
                yield Use(self, apart=True)
            finally:
                self.restore()

    @contextmanager
    def only(self, part: Part) -> Iterator[None]:
        """Have one part on the device and none beside it."""
        weights = self._weights[part]
        self._give_back()
        weights.to_device(keep=True)
        try:
            yield
        finally:
            weights.to_host()
            self._give_back()

    def _give_back(self) -> None:
        import torch

        if self._cuda:
            torch.cuda.empty_cache()


class Use:
    """The components during one run."""

    def __init__(self, components: Components, *, apart: bool) -> None:
        self._components = components
        self._apart = apart

    @contextmanager
    def of(self, part: Part) -> Iterator[None]:
        """Compute with one part."""
        if not self._apart:
            yield
            return
        with self._components.only(part):
            yield


def _part_of(name: str) -> Part:
    if name.startswith(("text_encoder", "image_encoder")):
        return Part.TEXT
    return Part.DECODER if name.startswith("vae") else Part.DENOISER
