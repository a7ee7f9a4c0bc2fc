"""New settings in a running worker: tried as a start would try them, and applied in place.

Imported when the parts are: what it needs takes as long to import as they do.
"""

import asyncio
from dataclasses import replace

from daemon.connections import make_artifacts, make_sources, make_store
from daemon.devices import find_devices
from daemon.jobs import JobError
from daemon.log_settings import configure_logs
from daemon.model_specs import specs_from
from daemon.parts import Parts
from daemon.preflight import problems
from daemon.resolving import resolver
from daemon.scheduling.models import DeviceSpec, check_fits
from daemon.settings import Settings, SettingsError
from daemon.startup import StartupError
from daemon.values import SchemaMismatchError, StoreRejectedError, StoreUnavailableError

TRIAL_S = 15.0
"""Seconds in which another database or storage must have answered."""


async def objections(old: Settings, new: Settings, *, rebuild: bool) -> list[str]:
    """Return a sentence for each reason why a worker with the new settings wouldn't start.

    `rebuild`: what a start asks others is asked too. A database or storage whose settings are as
    before may be away, since it would be waited for with the old settings as well.
    """
    if found := problems(new):
        return found
    try:
        await devices_for(new)
        make_sources(new)
        if rebuild:
            same = (old.database, old.supabase) == (new.database, new.supabase)
            found += await _of_database(new, may_be_away=same)
        if (old.artifacts, old.supabase) != (new.artifacts, new.supabase):
            found += await _of_storage(new)
    except (StartupError, SettingsError) as error:
        found += str(error).splitlines()
    return found


async def devices_for(settings: Settings) -> tuple[DeviceSpec, ...]:
    """Return the devices that these settings find.

    Raises:
        StartupError: there is none, or a model doesn't fit.
    """
    # NVML blocks, and for long where a driver is ill.
    devices = await asyncio.to_thread(find_devices, settings)
    if misfits := check_fits(specs_from(settings.enabled_models), devices):
        raise StartupError("\n".join(misfits))
    return devices


async def _of_database(settings: Settings, *, may_be_away: bool) -> list[str]:
    store = make_store(settings, pool_size=1)
    try:
        async with asyncio.timeout(TRIAL_S):
            await store.check_schema()
    except TimeoutError:
        return [] if may_be_away else [f"the database has not answered within {TRIAL_S:g} s"]
    except StoreUnavailableError as error:
        return [] if may_be_away else [f"the database can't be reached: {error}"]
    except (StoreRejectedError, SchemaMismatchError) as error:
        return [f"the database can't be used: {error}"]
    finally:
        await store.aclose()
    return []


async def _of_storage(settings: Settings) -> list[str]:
    artifacts = make_artifacts(settings)
    try:
        async with asyncio.timeout(TRIAL_S):
            return await artifacts.check()
    except TimeoutError:
        return [f"the artifact store has not answered within {TRIAL_S:g} s"]
    except JobError as error:
        return [f"the artifact store can't be used: {error}"]
    finally:
        await artifacts.aclose()


def apply_in_place(parts: Parts, settings: Settings) -> None:
    """Have everything that begins from now on go by these settings; what runs goes on as it is."""
    configure_logs(settings)
    wakeups, executor = settings.wakeups, parts.executor
    parts.sweeps.set_intervals(wakeups.sweep_interval_s, wakeups.sweep_interval_blind_s)
    if parts.broadcaster is not None:
        parts.broadcaster.settings = settings.live
    executor.stop, executor.max_held = settings.stop, settings.max_held
    execution = executor.execution
    executor.execution = replace(
        execution,
        resolve=resolver(settings),
        enhancement=replace(execution.enhancement, settings=settings.enhance),
    )
    parts.answering.go_by(executor.execution)
    # There may be room for more now.
    parts.intake.wake.set()
