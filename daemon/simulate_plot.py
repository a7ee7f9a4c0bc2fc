"""A picture of simulations: how long jobs waited, and how many did over time.

A policy has a colour, a host a style of line; hosts have colours too where there is one policy.
Needs the extra `simulate`; nothing else imports this module.
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
_MOMENTS = 150
"""Of a trace, for each of which the mean number of jobs waiting is drawn: a week has more than eyes
can tell apart."""
_COLOURS = ("C0", "C1", "C2", "C3", "C4", "C5")
_STYLES = ("-", "--", ":", "-.")


def plot(path: Path, drawn: Sequence[Drawn]) -> None:
    """Draw outcomes; the file's ending says in which format.

    Raises:
        OSError: the file can't be written.
    """
    figure = Figure(figsize=(12, 8), layout="constrained")
    waits, waiting = figure.subplots(2, 1)
    policies = [policy for _, policy, _ in drawn]
    by_host = len(set(policies)) == 1
    colours = _assigned([host for host, _, _ in drawn] if by_host else policies, _COLOURS)
    styles = _assigned([host for host, _, _ in drawn], _STYLES)
    for host, policy, outcome in drawn:
        look = {
            "label": f"{host}, {policy}",
            "color": colours[host if by_host else policy],
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
    waiting.set_ylabel("jobs waiting, on the average")
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
    span_s = max((each.ended_s for each in served), default=0.0) / _MOMENTS or 1.0
    waited_s = [0.0] * (_MOMENTS + 1)
    for each in served:
        first, last = int(each.job.arrives_s / span_s), int(each.started_s / span_s)
        for moment in range(first, last + 1):
            begin_s, end_s = moment * span_s, (moment + 1) * span_s
            waited_s[moment] += min(each.started_s, end_s) - max(each.job.arrives_s, begin_s)
    hours = [moment * span_s / _HOUR_S for moment in range(_MOMENTS + 1)]
    axes.step(hours, [seconds / span_s for seconds in waited_s], where="post", **look)
