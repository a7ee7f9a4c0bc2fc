"""Weights that move between a device and the host's memory, in pages that the device can read.

Values never change here, and neither do the parameter objects: only where their bytes lie. On a GPU
the copies on the host are pinned, so that the way back is a plain asynchronous copy. On a CPU both
places are the same memory; there it is a walk over all the weights that changes nothing.
"""

from collections.abc import Iterable
from typing import Any

PLAIN_KINDS = frozenset({"Tensor", "Parameter", "Buffer"})
"""Tensors that can be pointed at other bytes; quantized kinds keep more than those."""


class Weights:
    """The parameters and buffers of some modules, all in one place.

    Args:
        modules: torch modules, on the device now.
        device: that device.
        keep: keep the copies on the host while the weights are on the device: leaving it again
            is then free, and the host's memory stays taken.
    """

    def __init__(self, modules: Iterable[Any], device: Any, *, keep: bool = False) -> None:
        self._device = device
        self._keep = keep
        found = {
            id(tensor): tensor
            for module in modules
            for tensor in (*module.parameters(), *module.buffers())
        }
        self._tensors = tuple(found.values())
        self._copies: tuple[Any, ...] = ()
        self.on_device = True

    @property
    def movable(self) -> bool:
        """Whether all of them are of kinds that can be moved so."""
        return all(type(tensor).__name__ in PLAIN_KINDS for tensor in self._tensors)

    @property
    def size_bytes(self) -> int:
        """What they take."""
        return sum(tensor.nbytes for tensor in self._tensors)

    def to_host(self) -> None:
        """Move them to the host's memory; nothing if they are there."""
        if not self.on_device:
            return
        self._copies = self._copies or tuple(self._copied(tensor) for tensor in self._tensors)
        self._wait()
        self._point_at(self._copies)
        self.on_device = False

    def to_device(self, *, keep: bool = False) -> None:
        """Move them back; nothing if they are there. What fails half-way is where it was.

        With `keep` the copies stay this time, since the weights will soon be on the host again.
        """
        if self.on_device:
            return
        back = tuple(copy.to(self._device, non_blocking=True) for copy in self._copies)
        self._wait()
        self._point_at(back)
        self.on_device = True
        if not (self._keep or keep):
            self._copies = ()

    def _copied(self, tensor: Any) -> Any:
        import torch

        pinned = tensor.device.type == "cuda"
        copy = torch.empty_like(tensor, device="cpu", requires_grad=False, pin_memory=pinned)
        with torch.no_grad():
            copy.copy_(tensor, non_blocking=True)
        return copy

    def _point_at(self, places: Iterable[Any]) -> None:
        for tensor, place in zip(self._tensors, places, strict=True):
            tensor.data = place

    def _wait(self) -> None:
        import torch

        if torch.device(self._device).type == "cuda":
            torch.cuda.synchronize()
