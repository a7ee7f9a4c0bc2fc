"""The devices of this host: what the driver finds, or one that is simulated."""

import os
from dataclasses import replace

from daemon.model_specs import devices_from
from daemon.scheduling.models import DeviceSpec
from daemon.settings import Settings
from daemon.startup import NotYetError
from daemon.telemetry.gpu import Nvml


def find_devices(settings: Settings) -> tuple[DeviceSpec, ...]:
    """Return the simulated device, or what the driver finds of the visible ones. Blocks.

    Raises:
        NotYetError: there is no GPU.
    """
    if settings.device.simulate_gb is not None:
        return devices_from((), settings.device)
    try:
        samples = Nvml(os.environ.get("CUDA_VISIBLE_DEVICES"))()
    except Exception as error:  # whatever a driver raises means: no GPU
        raise NotYetError(
            f"no GPU: {error}. Set OURVIDZ_DEVICE__SIMULATE_GB to run without one"
        ) from error
    capacities = {each.index: each.memory_total for each in samples if each.memory_total}
    if not capacities:
        raise NotYetError("no GPU found: set OURVIDZ_DEVICE__SIMULATE_GB to run without one")
    # One that doesn't tell its memory is left out, and the others keep their numbers.
    found = devices_from(list(capacities.values()), settings.device)
    return tuple(replace(each, index=index) for each, index in zip(found, capacities, strict=True))
