"""A picture of simulations: how long jobs waited, and how many did at each moment.

A policy has a colour, a host a style of line. Needs the extra `simulate`; nothing else imports this
module.
"""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from daemon.scheduling.simulation import Outcome, Served

Drawn = tuple[str, str, Outcome]
"""A host, a policy, and what became of the jobs there."""

_HOUR_S = 3600.0
_LINEAR_S = 1.0
"""Waits below this are drawn to a linear scale, longer ones to a logarithmic one."""
_COLOURS = ("C0", "C1", "C2", "C3", "C4", "C5")
_STYLES = ("-", "--", ":", "-.")


def plot(path: Path, drawn: Sequence[Drawn]) -> None:
    """Draw outcomes; the file's ending says in which format.

    Raises:
        OSError: the file can't be written.
    """
    figure = Figure(figsize=(12, 8), layout="constrained")
    waits, waiting = figure.subplots(2, 1)
    colours = _assigned([policy for _, policy, _ in drawn], _COLOURS)
    styles = _assigned([host for host, _, _ in drawn], _STYLES)
    for host, policy, outcome in drawn:
        look = {
            "label": f"{host}, {policy}",
            "color": colours[policy],
            "linestyle": styles[host],
        }
        _draw_waits(waits, outcome.served, look)
        _draw_waiting(waiting, outcome.served, look)
    waits.set_xscale("symlog", linthresh=_LINEAR_S)
    waits.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    waits.set_xlim(left=0)
    waits.set_xlabel("wait from arrival to start, seconds")
    waits.set_ylabel("share of the jobs that waited no longer")
    waiting.set_ylim(bottom=0)
    waiting.set_xlabel("hours since the first arrival")
    waiting.set_ylabel("jobs waiting")
    for axes in (waits, waiting):
        axes.grid(visible=True, alpha=0.3)
    figure.legend(handles=waits.get_lines(), loc="outside right upper")
    figure.savefig(path)


def _assigned(names: Sequence[str], looks: Sequence[str]) -> dict[str, str]:
    return dict(zip(dict.fromkeys(names), cycle(looks), strict=False))


def _draw_waits(axes: Axes, served: Sequence[Served], look: dict[str, Any]) -> None:
    waits = sorted(each.wait_s for each in served)
    shares = [number / max(len(waits), 1) for number in range(len(waits) + 1)]
    axes.step([0.0, *waits], shares, where="post", **look)


def _draw_waiting(axes: Axes, served: Sequence[Served], look: dict[str, Any]) -> None:
    changes = sorted(
        [(each.job.arrives_s, 1) for each in served] + [(each.started_s, -1) for each in served]
    )
    hours, counts, count = [0.0], [0], 0
    for moment_s, change in changes:
        count += change
        hours.append(moment_s / _HOUR_S)
        counts.append(count)
    axes.step(hours, counts, where="post", **look)
