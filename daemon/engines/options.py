"""Those of a model's options that steer its engine's process; all others are its runner's."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from handlers.options import check_options


class EngineOptions(BaseModel):
    """How a model's process is started and watched.

    Attributes:
        load_timeout_s: seconds to start and load, and for weights to move to the host or back.
        cancel_timeout_s: seconds in which a cancelled run must stop, else the engine is killed.
        hang_floor_s: no run is taken for hung before so many seconds without a step, and no load or
            move before its engine did nothing at all for so long.
        hang_factor: nor before so many times its handler's longest gap between two steps.
        ping_every_s: seconds between two pings of an engine.
        ping_within_s: seconds in which it must answer one, else it is killed; five times as many
            while weights move.
        offline: never ask a model hub, nor pass its token on.
        omp_threads: threads of CPU kernels; None leaves the libraries' choice.
        inline: run in the daemon's process; for the `fake` runner only.
        threads: inline runs get threads; False: they go on the event loop.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    load_timeout_s: float = Field(default=900.0, gt=0)
    cancel_timeout_s: float = Field(default=60.0, gt=0)
    hang_floor_s: float = Field(default=120.0, gt=0)
    hang_factor: float = Field(default=10.0, ge=1)
    ping_every_s: float = Field(default=10.0, gt=0)
    ping_within_s: float = Field(default=60.0, gt=0)
    offline: bool = True
    omp_threads: int | None = Field(default=None, ge=1)
    inline: bool = False
    threads: bool = True


def of_runner(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options that are the runner's own."""
    process = EngineOptions.model_fields
    return {name: value for name, value in options.items() if name not in process}


def problems(runner: str, options: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a model's options, each as `name: sentence`."""
    found = []
    try:
        EngineOptions.model_validate(dict(options))
    except ValidationError as error:
        found = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return [*found, *check_options(runner, of_runner(options))]
