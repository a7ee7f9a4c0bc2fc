"""Weights that move between a device and the host's memory, in pages that the device can read.

Values never change here, and neither do the parameter objects: only where their bytes lie. On the
host all lie in one block of exactly their size; for a GPU it is pinned, so that the way back is a
plain asynchronous copy. (torch's own pinned memory comes in powers of two and is never given back
to the system by itself.) On a CPU both places are the same memory; there it is a walk over all the
weights that changes nothing.
"""

from collections.abc import Iterable, Iterator
from typing import Any

PLAIN_KINDS = frozenset({"Tensor", "Parameter", "Buffer"})
"""Tensors that can be pointed at other bytes; quantized kinds keep more than those."""

_ALIGNMENT = 256


class Weights:
    """The parameters and buffers of some modules, all in one place.

    Args:
        modules: torch modules, on the device now.
        device: that device.
        keep: keep the block on the host while the weights are on the device: leaving it again
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
        self._block: _Block | None = None
        self.on_device = True

    @property
    def movable(self) -> bool:
        """Whether all of them are of kinds that can be moved so."""
        return all(type(tensor).__name__ in PLAIN_KINDS for tensor in self._tensors)

    @property
    def host_bytes(self) -> int:
        """What they take of the host's memory now, beside the device's."""
        return 0 if self._block is None else self._block.size

    def to_host(self) -> None:
        """Move them to the host's memory; nothing if they are there."""
        if not self.on_device:
            return
        if self._block is None:
            block = _Block(self._tensors, pinned=self._is_cuda)
            block.fill(self._tensors)
            self._wait()
            self._block = block
        self._point_at(self._block.places)
        self.on_device = False

    def to_device(self, *, keep: bool = False) -> None:
        """Move them back; nothing if they are there. What fails half-way is where it was.

        With `keep` the block stays this time, since the weights will soon be on the host again.
        """
        if self.on_device or self._block is None:
            return
        # Always a copy: on a CPU, too, the block must not be used when it is given back.
        back = [
            place.to(self._device, non_blocking=True, copy=True) for place in self._block.places
        ]
        self._wait()
        self._point_at(back)
        self.on_device = True
        if not (self._keep or keep):
            self._block.close()
            self._block = None

    @property
    def _is_cuda(self) -> bool:
        import torch

        return bool(torch.device(self._device).type == "cuda")

    def _point_at(self, places: Iterable[Any]) -> None:
        for tensor, place in zip(self._tensors, places, strict=True):
            tensor.data = place

    def _wait(self) -> None:
        import torch

        if self._is_cuda:
            torch.cuda.synchronize()


class _Block:
    """One block of the host's memory with a place for each tensor."""

    def __init__(self, tensors: Iterable[Any], *, pinned: bool) -> None:
        import torch

        tensors = tuple(tensors)
        *starts, self.size = _offsets(tensors)
        self._bytes = torch.empty(self.size, dtype=torch.uint8)
        self._pinned = pinned and self.size > 0
        if self._pinned:
            pin(self._bytes)
        self.places = tuple(
            self._bytes[start : start + tensor.nbytes]
            .view(tensor.dtype)
            .as_strided(tensor.size(), _strides(tensor))
            for start, tensor in zip(starts, tensors, strict=True)
        )

    def fill(self, tensors: Iterable[Any]) -> None:
        """Copy the tensors to their places; on a GPU it goes on after the call."""
        import torch

        with torch.no_grad():
            for place, tensor in zip(self.places, tensors, strict=True):
                place.copy_(tensor, non_blocking=True)

    def close(self) -> None:
        """Give the pages back; nothing may be in them any more."""
        if self._pinned:
            unpin(self._bytes)
        self.places = ()


def pin(block: Any) -> None:
    """Have the device read and write these pages directly."""
    import torch

    error = torch.cuda.cudart().cudaHostRegister(block.data_ptr(), block.nbytes, 0)
    if int(error) != 0:
        raise RuntimeError(f"{block.nbytes:,} bytes of the host's memory can't be pinned: {error}")


def unpin(block: Any) -> None:
    """Undo `pin`."""
    import torch

    torch.cuda.cudart().cudaHostUnregister(block.data_ptr())


def _offsets(tensors: Iterable[Any]) -> Iterator[int]:
    """Yield where each tensor begins, and where the last one ends."""
    offset = 0
    for tensor in tensors:
        yield offset
        offset += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
    yield offset


def _strides(tensor: Any) -> tuple[int, ...]:
    """Return how a dense copy of the tensor lies, in its own memory format."""
    import torch

    strides: tuple[int, ...] = torch.empty_like(tensor, device="meta").stride()
    return strides
