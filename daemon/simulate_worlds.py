"""What is simulated: each host and budget that was asked for, with each policy."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from daemon.scheduling import rivals
from daemon.scheduling.models import GIB, DeviceSpec, ModelSpec, check_fits
from daemon.scheduling.policy import IndexPolicy, Policy
from daemon.scheduling.simulation import World
from daemon.settings import Settings
from daemon.simulate_options import POLICIES, SimulateOptions
from daemon.startup import StartupError

_USUAL_GB = 24.0


@dataclass(frozen=True)
class Case:
    """One simulation to run: a world and a policy, and their names in tables."""

    host: str
    policy_name: str
    world: World
    policy: Policy


def cases_of(
    options: SimulateOptions, settings: Settings, models: Sequence[ModelSpec]
) -> list[Case]:
    """Return what is to be simulated, in the order that was asked for.

    Raises:
        StartupError: a worker would refuse to start on one of the hosts.
    """
    policies = tuple(options.policy) or ("shipped",)
    if "all" in policies:
        policies = POLICIES
    return [
        _case(host, name, world, settings)
        for host, world in _worlds(options, settings, models)
        for name in dict.fromkeys(policies)
    ]


def _case(host: str, name: str, world: World, settings: Settings) -> Case:
    if name == "shipped":
        policy: Policy = IndexPolicy(settings.max_pass_over_s, preload=settings.preload)
    else:
        policy = _RIVALS[name]()
    if name == "static-partition":
        world = replace(world, models=rivals.partition(world.models))
    return Case(host, name, world, policy)


_RIVALS: Mapping[str, Callable[[], Policy]] = {
    "fifo": rivals.fifo,
    "lru": rivals.lru,
    "collate": rivals.collate,
    "shortest-first": rivals.shortest_first,
    # Pools of their own, each served as long as it is loaded.
    "static-partition": rivals.collate,
}


def _worlds(
    options: SimulateOptions, settings: Settings, models: Sequence[ModelSpec]
) -> Iterator[tuple[str, World]]:
    hosts = [options.gpu, *options.compare] if options.gpu else list(options.compare)
    budgets = dict(options.budget)
    sizes = options.host_gb or (settings.device.host_gb or 0.0,)
    for capacities in hosts or [(settings.device.simulate_gb or _USUAL_GB,)]:
        for host_gb in sizes:
            name = _name_of(capacities, host_gb if options.host_gb else 0.0)
            world = _world(name, capacities, settings, models)
            yield name, replace(world, host_bytes=int(host_gb * GIB))
            if budgets:
                changed = f"{name}, " + ", ".join(f"{each} {gb:g}" for each, gb in budgets.items())
                world = _world(changed, capacities, settings, _with_budgets(models, budgets))
                yield changed, replace(world, host_bytes=int(host_gb * GIB))


def _world(
    name: str, capacities: Sequence[float], settings: Settings, models: Sequence[ModelSpec]
) -> World:
    reserve = int(settings.device.reserve_gb * GIB)
    devices = [DeviceSpec(n, int(gb * GIB), reserve) for n, gb in enumerate(capacities)]
    if problems := check_fits(models, devices):
        raise StartupError("\n".join([f"no worker starts on {name}:", *problems]))
    return World.of(models, devices)


def _with_budgets(models: Sequence[ModelSpec], budgets: Mapping[str, float]) -> list[ModelSpec]:
    names = [model.name for model in models]
    if unknown := [name for name in budgets if name not in names]:
        raise StartupError(
            f"--budget: no model {', '.join(unknown)} is served; there are {', '.join(names)}"
        )
    return [
        replace(model, budget_bytes=int(budgets[model.name] * GIB))
        if model.name in budgets
        else model
        for model in models
    ]


def _name_of(capacities: Sequence[float], host_gb: float) -> str:
    host = f", host {host_gb:g}" if host_gb else ""
    if len(set(capacities)) == 1:
        times = f"{len(capacities)} x " if len(capacities) > 1 else ""
        return f"{times}{capacities[0]:g} GB{host}"
    return " + ".join(f"{gb:g}" for gb in capacities) + f" GB{host}"
