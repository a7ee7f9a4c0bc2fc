"""A driver that tells what a file says: for daemons on hosts without a GPU.

`GPU_FILE` names it: JSON with `name`, `driver`, `total` and `used` in bytes, and `count`. First on
the path it stands in the place of the real bindings, as far as this project asks them.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

NVML_ERROR_NOT_SUPPORTED = 3
NVML_ERROR_NO_PERMISSION = 4
NVML_TEMPERATURE_GPU = 0


class NVMLError(Exception):
    """What the driver doesn't tell."""

    value = NVML_ERROR_NOT_SUPPORTED


def _gpu() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(Path(os.environ["GPU_FILE"]).read_text())
    return told


def _silent(*_: object) -> Any:
    raise NVMLError


def nvmlInit() -> None:  # noqa: N802 -- the driver's own names
    """Do nothing."""


def nvmlSystemGetDriverVersion() -> str:  # noqa: N802
    """Return what the file says."""
    return str(_gpu()["driver"])


def nvmlDeviceGetCount() -> int:  # noqa: N802
    """Return how many there are, all of them alike."""
    return int(_gpu().get("count", 1))


def nvmlDeviceGetHandleByIndex(index: int) -> int:  # noqa: N802
    """Return the index."""
    return index


def nvmlDeviceGetName(handle: int) -> str:  # noqa: N802
    """Return what the file says."""
    del handle
    return str(_gpu()["name"])


def nvmlDeviceGetMemoryInfo(handle: int) -> Any:  # noqa: N802
    """Return what the file says."""
    del handle
    return SimpleNamespace(used=_gpu()["used"], total=_gpu()["total"])


def nvmlDeviceGetComputeRunningProcesses(handle: int) -> list[Any]:  # noqa: N802
    """Return none: fake engines compute nothing."""
    del handle
    return []


nvmlDeviceGetHandleByUUID = nvmlDeviceGetUtilizationRates = _silent  # noqa: N816
nvmlDeviceGetTemperature = nvmlDeviceGetPowerUsage = _silent  # noqa: N816
