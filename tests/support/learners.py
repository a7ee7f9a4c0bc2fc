"""Workers that learn something, one after the other in the same folder."""

from pathlib import Path
from typing import Any

from virtual_gpu import ALL, device, request

from daemon.keeping import Keeper
from daemon.scheduling.figures import Learner
from daemon.scheduling.models import GIB
from daemon.scheduling.scheduler import Scheduler
from daemon.settings import Settings, load_settings


def scheduler() -> Scheduler:
    """Return one that has learned nothing."""
    return Scheduler(ALL, [device(48)], max_pass_over_s=60)


def settings(**models: Any) -> Settings:
    """Return settings of a simulated device."""
    return load_settings(overrides={"device": {"simulate_gb": 48}, "models": models})


def sees_a_run(one: Scheduler, model: str = "sdxl") -> None:
    """Let it learn what a run took."""
    one.state.estimates.took(request("r", model), 5 * GIB, GIB)


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return [each.name for each in folder.iterdir()]


async def kept(folder: Path, model: str = "sdxl") -> Scheduler:
    """Let a worker live and learn in a folder."""
    one, keeper = scheduler(), Keeper(folder)
    await keeper.read()
    async with keeper.learning(Learner(one.state), settings()):
        sees_a_run(one, model)
    return one


async def successor(folder: Path, **models: Any) -> tuple[Scheduler, Keeper]:
    """Start another worker in the folder, which learns nothing."""
    one, keeper = scheduler(), Keeper(folder)
    await keeper.read()
    async with keeper.learning(Learner(one.state), settings(**models)):
        pass
    return one, keeper
