"""What `ourvidz-worker simulate` can be asked, and how its values are written."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

POLICIES = ("shipped", "fifo", "lru", "collate", "shortest-first", "static-partition")
"""The worker's own policy, and others to compare with."""

PLOTS = (".svg", ".png")

_MOST_GB = 99_999

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class SimulateOptions:
    """The command line, as it was given: None and empty where nothing was."""

    trace: Path | None = None
    from_database: bool = False
    since: float | None = None
    """Seconds."""
    jobs: int | None = None
    per_hour: float | None = None
    seed: int | None = None
    export: Path | None = None
    gpu: tuple[float, ...] = ()
    compare: tuple[tuple[float, ...], ...] = ()
    host_gb: tuple[float, ...] = ()
    budget: tuple[tuple[str, float], ...] = ()
    policy: tuple[str, ...] = ()
    as_json: bool = False
    plot: Path | None = None


class Duration(click.ParamType[float]):
    """A number and a unit: 30m, 24h, 7d, 2w; becomes seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        found = re.fullmatch(r"(\d{1,6})([mhdw])", str(value))
        if found is None or not int(found[1]):
            self.fail(f"{value!r} is no duration such as 30m, 24h, 7d or 2w", param, ctx)
        return float(int(found[1]) * _UNITS[found[2]])


def duration_of(seconds: float) -> str:
    """Return a duration as it would be written: in the largest unit of which it is a multiple."""
    unit = max(
        (each for each in _UNITS if not seconds % _UNITS[each]), key=lambda each: _UNITS[each]
    )
    return f"{seconds / _UNITS[unit]:g}{unit}"


class Host(click.ParamType[tuple[float, ...]]):
    """The GPUs of one host, GB each: 24 or 24,24."""

    name = "gb[,gb...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Return the GB of each."""
        return tuple(_gb(self, part, param, ctx) for part in str(value).split(","))


class Budget(click.ParamType[tuple[str, float]]):
    """A model and what it may take: sdxl=16."""

    name = "model=gb"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """Return the model's name and the GB."""
        model, _, budget = str(value).partition("=")
        return model, _gb(self, budget, param, ctx)


class Finite(click.FloatRange):
    """A number in a range, and no infinity: `nan` and `inf` are numbers to Python."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is no number", param, ctx)
        return found


def _gb(
    kind: click.ParamType[Any], text: str, param: click.Parameter | None, ctx: click.Context | None
) -> float:
    if re.fullmatch(r"\d{1,5}(\.\d+)?", text.strip()) is None or not float(text):
        kind.fail(f"{text!r} is no number of GB", param, ctx)
    return float(text)


_OPTIONS = (
    click.option(
        "--trace", type=click.Path(path_type=Path), help="Jobs from a file that --export wrote."
    ),
    click.option(
        "--from-database",
        is_flag=True,
        help="Jobs that arrived in DATABASE_URL's table; what came over HTTP alone isn't there.",
    ),
    click.option(
        "--since", type=Duration(), help="With --from-database: how far back (default 7d)."
    ),
    click.option("--jobs", type=click.IntRange(1), help="Generate so many jobs (default 300),"),
    click.option(
        "--per-hour",
        type=Finite(0, min_open=True),
        help="so many an hour (default 200),",
    ),
    click.option("--seed", type=int, help="from this seed (default 0)."),
    click.option(
        "--export", type=click.Path(path_type=Path), help="Also write the jobs to this file."
    ),
    click.option(
        "--gpu",
        type=Finite(0, _MOST_GB, min_open=True),
        multiple=True,
        metavar="GB",
        help="A GPU of the host; once for each. By default one, of device.simulate_gb or 24.",
    ),
    click.option(
        "--compare",
        type=Host(),
        multiple=True,
        help="A whole host, as its GPUs' GB: once for each host to set side by side.",
    ),
    click.option(
        "--host-gb",
        type=Finite(0, _MOST_GB),
        multiple=True,
        metavar="GB",
        help="The host's memory in which idle models may wait; once for each size to set side by "
        "side. By default device.host_gb or 0.",
    ),
    click.option(
        "--budget",
        type=Budget(),
        multiple=True,
        help="Another budget of a model; each host is simulated without these and with them.",
    ),
    click.option(
        "--policy",
        type=click.Choice([*POLICIES, "all"]),
        multiple=True,
        help="Who goes next; once for each (default: shipped).",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables."),
    click.option(
        "--plot",
        type=click.Path(path_type=Path),
        help="Draw waits, and jobs waiting over time, to an .svg or .png file.",
    ),
)


def simulate_options(command: _Command) -> _Command:
    """Give a command all of these options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
