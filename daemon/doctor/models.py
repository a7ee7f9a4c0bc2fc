"""The models on disk: there, whole, and not larger than their budget."""

import asyncio
import json
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from daemon.doctor.findings import Finding, failed, ok, warning
from daemon.job_types import Model
from daemon.preflight import names_a_folder
from daemon.sections import GIB, ModelSettings
from daemon.settings import Settings

_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt")
_LONGEST_HEADER = 100 * 2**20
"""The format's own limit."""
_DOWNLOAD = "download it again"


async def look(settings: Settings) -> list[Finding]:
    """Return a finding for each model that is served."""
    looks = (
        asyncio.to_thread(_model, model, chosen)
        for model, chosen in settings.enabled_models.items()
    )
    return list(await asyncio.gather(*looks))


def _model(model: Model, chosen: ModelSettings) -> Finding:
    check = f"model {model}"
    if chosen.runner == "fake":
        return ok(check, "no files: its runner is fake")
    if not names_a_folder(chosen.path):
        seen = f"{chosen.path or 'no path'} is looked up on the model hub at the load"
        return warning(check, seen, "put it on disk and set its path: a load then needs no network")
    path = Path(chosen.path).expanduser()
    if not path.exists():
        return failed(
            check,
            f"{path} does not exist",
            f"put the weights there, set OURVIDZ_MODELS__{model.upper()}__PATH, or serve other "
            "models with --worker-type",
        )
    try:
        return _files(check, path, chosen)
    except OSError as error:
        return failed(check, f"{path} can't be read: {error.strerror}", "correct its rights")


def _files(check: str, path: Path, chosen: ModelSettings) -> Finding:
    weights = list(_weights(path))
    if not weights:
        return failed(
            check, f"{path} has no weights: no file ends in {', '.join(_WEIGHTS)}", _DOWNLOAD
        )
    for file in weights:
        if file.suffix == ".safetensors" and (problem := broken(file)):
            return failed(check, f"{file}: {problem}", _DOWNLOAD)
        if not os.access(file, os.R_OK):
            return failed(check, f"{file} can't be read", "correct its rights")
    size = sum(file.stat().st_size for file in weights)
    seen = f"{path}: {len(weights)} files of weights, {size / GIB:.2f} GB"
    if size > chosen.budget_gb * GIB and not _shrinks(chosen.options):
        advice = "raise its budget_gb, or take smaller or quantised weights"
        return warning(check, f"{seen}, above its budget of {chosen.budget_gb:g} GB", advice)
    return ok(check, f"{seen}, whole; its budget is {chosen.budget_gb:g} GB")


def _shrinks(options: Mapping[str, object]) -> bool:
    """Whether options may make less of the weights than lies on the disk."""
    return any("quant" in name or "offload" in name for name in options)


def _weights(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for folder, _, names in os.walk(path, followlinks=True):
        yield from (Path(folder) / name for name in sorted(names) if name.endswith(_WEIGHTS))


def broken(file: Path) -> str | None:
    """Return why a safetensors file isn't whole; None: it is, as far as its own header says.

    It begins with the header's length in eight bytes, then the header in JSON, in which every
    tensor says from where to where it lies in the rest.
    """
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        if start.startswith(b"version "):
            return "it is a Git LFS pointer, not the file"
        length = struct.unpack("<Q", start)[0] if len(start) == len(struct.pack("<Q", 0)) else 0
        if not 0 < length <= min(_LONGEST_HEADER, size):
            return "it is no safetensors file"
        text = opened.read(length)
    try:
        header = json.loads(text)
        ends = [each["data_offsets"][1] for name, each in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "its header can't be read"
    whole = 8 + length + max(ends, default=0)
    return None if whole == size else f"it has {size:,} bytes instead of {whole:,}: cut off"
