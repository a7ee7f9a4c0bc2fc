"""How much of a model's budget is left for vLLM's KV cache. Arithmetic alone.

vLLM takes the memory of its KV cache once, at the load, and its runs live in it. What it takes
then must be all that it ever takes:

    budget = weights + KV cache + overhead (context, kernels, activations, CUDA graphs)
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from handlers import weights
from handlers.base import ModelSpec, RunError
from handlers.text_options import GIB, VllmOptions

_OVERHEAD_GB = {"cuda": 1.25, "cpu": 2.5}
_WITHOUT_BUDGET_GB = 1.0
_LEAST_BYTES = 64 * 2**20
_LENGTH_BYTES = 8
_FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Kinds that are converted to the model's number format when they are loaded."""


def weights_bytes(files: Iterable[Path], itemsize: int) -> int:
    """Return what weights take once they are loaded with numbers of `itemsize` bytes."""
    return sum(size for file in files for size in _sizes(file, itemsize))


def kv_cache_bytes(
    spec: ModelSpec, options: VllmOptions, device: str, loaded_bytes: int
) -> int | None:
    """Return the bytes of the KV cache; None: vLLM finds out by `gpu_memory_utilization`.

    Raises:
        RunError: the budget leaves too little.
    """
    if options.kv_cache_gb is not None:
        return int(options.kv_cache_gb * GIB)
    if options.gpu_memory_utilization is not None:
        return None
    if not spec.budget_bytes:
        return int(_WITHOUT_BUDGET_GB * GIB)
    overhead = options.overhead_gb
    if overhead is None:
        overhead = _OVERHEAD_GB[device]
    left = spec.budget_bytes - loaded_bytes - int(overhead * GIB)
    if left < _LEAST_BYTES:
        raise _too_small(spec, loaded_bytes, overhead)
    return left


def _too_small(spec: ModelSpec, loaded_bytes: int, overhead_gb: float) -> RunError:
    needed = loaded_bytes + int(overhead_gb * GIB) + _LEAST_BYTES
    return weights.refused(
        spec,
        f"its budget of {spec.budget_bytes / GIB:.4g} GB leaves no KV cache beside weights of "
        f"{loaded_bytes / GIB:.4g} GB and {overhead_gb:.4g} GB of overhead: budget_gb must be "
        f"above {needed / GIB:.4g}",
    )


def _sizes(file: Path, itemsize: int) -> Iterator[int]:
    """Yield the loaded bytes of each tensor of a safetensors file, from its header."""
    for name, tensor in _header(file).items():
        if name == "__metadata__":
            continue
        start, end = tensor["data_offsets"]
        stored = _FLOATS.get(tensor["dtype"], itemsize)
        yield (end - start) * itemsize // stored if tensor["dtype"] in _FLOATS else end - start


def _header(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
        header: dict[str, Any] = json.loads(opened.read(length))
    return header
