"""The GPUs: the driver, the memory that is there, and whether the budgets fit it."""

import asyncio
from collections.abc import Callable

from daemon.doctor.findings import Finding, failed, ok, warning
from daemon.model_specs import devices_from, specs_from
from daemon.scheduling.models import check_fits
from daemon.sections import GIB
from daemon.settings import Settings, SettingsError
from daemon.telemetry.gpu import GpuSample

_DRIVER = (
    "install NVIDIA's driver and give this process the devices (docker: --gpus all; systemd: the "
    "unit's DeviceAllow), or set device.simulate_gb to run without a GPU"
)
_HOT = 90.0
"""Degrees Celsius."""


async def look(settings: Settings, read: Callable[[], tuple[GpuSample, ...]]) -> list[Finding]:
    """Return a finding for each GPU, and for each model that doesn't fit the largest."""
    if settings.device.simulate_gb is not None:
        seen = f"a simulated device of {settings.device.simulate_gb:g} GB"
        return [ok("gpu", seen), *_budgets(settings, [])]
    try:
        # NVML blocks, and for long where a driver is ill.
        samples = await asyncio.to_thread(read)
    except Exception as error:  # noqa: BLE001 -- whatever a driver raises means: no GPU
        return [failed("gpu", f"no GPU: {error}", _DRIVER)]
    totals = [sample.memory_total for sample in samples if sample.memory_total]
    if not totals:
        return [failed("gpu", "the driver shows no GPU", _DRIVER)]
    driver = await asyncio.to_thread(_driver)
    return [*driver, *(_gpu(sample) for sample in samples), *_budgets(settings, totals)]


def _driver() -> list[Finding]:
    """Return the driver's version; nothing where it can't be asked."""
    try:
        import pynvml

        version = pynvml.nvmlSystemGetDriverVersion()
    except Exception:  # noqa: BLE001 -- the GPUs have been read: the version is only nice to know
        return []
    return [ok("driver", f"NVIDIA {version.decode() if isinstance(version, bytes) else version}")]


def _gpu(sample: GpuSample) -> Finding:
    check = f"gpu {sample.index}"
    total, used = sample.memory_total or 0, sample.memory_used or 0
    seen = f"{sample.name}, {total / GIB:.1f} GB, of which {used / GIB:.1f} GB in use"
    if sample.temperature is not None:
        seen += f", {sample.temperature:.0f} °C"
        if sample.temperature >= _HOT:
            return warning(check, seen, "look at its cooling: it slows down when it is hot")
    return ok(check, seen)


def _budgets(settings: Settings, totals: list[int]) -> list[Finding]:
    try:
        specs = specs_from(settings.enabled_models)
    except SettingsError as error:
        return [failed("budgets", str(error), "docs/configuration.md: models.<model>")]
    if not specs:
        return []  # the settings' own check says so
    misfits = check_fits(specs, devices_from(totals, settings.device))
    if misfits:
        advice = "lower models.<model>.budget_gb, or leave the model out: models.<model>.enabled"
        return [failed("budgets", misfit, advice) for misfit in misfits]
    largest = max(spec.budget_bytes for spec in specs) / GIB
    return [ok("budgets", f"every model's budget fits a device; the largest is {largest:g} GB")]
