"""Where learned figures come from: what must be the same for them to hold once more.

Weights, the engine's settings, the libraries that compute, the kind of device and its driver. What
only says how long or how much was expected (the settings' table) isn't part of it.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from daemon.engines.factory import model_spec
from daemon.job_types import Model
from daemon.model_specs import TAKE_ALL_AT_THE_LOAD
from daemon.sections import ModelSettings
from daemon.settings import Settings
from daemon.telemetry.gpu import Nvml

Origin = Mapping[str, str]
"""What figures depend on, by name, in words that an operator understands."""

_LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "diffusers": ("torch", "diffusers", "transformers", "accelerate"),
    "transformers": ("torch", "transformers"),
    "vllm": ("torch", "vllm"),
}


def origins_of(settings: Settings) -> dict[str, Origin]:
    """Return the origin of what is learned from now on, by model. Blocks: asks disk and driver."""
    host = {"worker": version("ourvidz-worker"), **_gpus(settings)}
    return {
        model.value: {**_engine(model, chosen), **_libraries(chosen.runner), **host}
        for model, chosen in settings.enabled_models.items()
    }


def differences(before: Origin, now: Origin) -> list[str]:
    """Return a sentence for each thing that isn't what it was."""
    return [
        f"{name} was {before.get(name, 'absent')}, is {now.get(name, 'absent')}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def _engine(model: Model, settings: ModelSettings) -> dict[str, str]:
    spec = model_spec(model, settings)
    options = json.dumps(spec.options, sort_keys=True, default=str).encode()
    origin = {
        "path": spec.path,
        "files": _files(Path(spec.path)) if spec.path else "none",
        "runner": spec.runner,
        "dtype": spec.dtype,
        "device": spec.device,
        "max_concurrent": str(spec.max_concurrent),
        # They may name secrets; that they differ is all that matters.
        "options": hashlib.sha256(options).hexdigest()[:16],
    }
    if spec.runner in TAKE_ALL_AT_THE_LOAD:
        origin["budget"] = str(spec.budget_bytes)
    return origin


def _files(path: Path) -> str:
    """Tell weights from others in the same place: by their bytes, as their memory depends on it."""
    sizes = list(_sizes(path))
    return f"{len(sizes)} of {sum(sizes)} bytes"


def _sizes(path: Path) -> Iterator[int]:
    if path.is_file():
        yield path.stat().st_size
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                yield Path(folder, name).stat().st_size


def _libraries(runner: str) -> dict[str, str]:
    return {name: _version(name) for name in _LIBRARIES.get(runner, ())}


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"


def _gpus(settings: Settings) -> dict[str, str]:
    if settings.device.simulate_gb is not None:
        return {"gpu": "simulated"}
    nvml = Nvml(os.environ.get("CUDA_VISIBLE_DEVICES"))
    try:
        names = sorted({sample.name for sample in nvml()})
        return {"gpu": ", ".join(names), "driver": nvml.driver()}
    except Exception:  # noqa: BLE001 -- whatever a driver raises means: it doesn't tell
        return {"gpu": "unknown"}
