"""LoRA files for whatever small model there is: its own layers' names and shapes."""

from pathlib import Path
from typing import Any


def write_lora(
    file: Path, module: Any, prefix: str, *, suffix: str = "to_q", size: float = 0.5, rank: int = 2
) -> Path:
    """Write a LoRA for all layers of `module` whose names end so; `prefix` is the component's."""
    import torch
    from safetensors.torch import save_file

    noise = torch.Generator().manual_seed(5)
    tensors = {}
    for name, layer in module.named_modules():
        if name.endswith(suffix):
            rows, columns = layer.weight.shape
            tensors[f"{prefix}.{name}.lora_A.weight"] = torch.randn(rank, columns, generator=noise)
            tensors[f"{prefix}.{name}.lora_B.weight"] = size * torch.randn(
                rows, rank, generator=noise
            )
    save_file(tensors, str(file))
    return file
