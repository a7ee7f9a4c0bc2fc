"""What a simulation came to: figures of each host and policy, as tables or JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from statistics import fmean
from typing import Any

from daemon.scheduling.simulation import Outcome, Served
from daemon.scheduling.trace import TraceJob


@dataclass(frozen=True)
class Waits:
    """How long jobs waited from their arrival to their start. Seconds."""

    jobs: int
    mean_s: float
    p50_s: float
    p95_s: float
    longest_s: float


@dataclass(frozen=True)
class Figures:
    """One row of the report: a host, a policy, and what became of the jobs there."""

    host: str
    policy: str
    jobs: int
    refused: int
    waits: Waits
    cost_per_job_s: float
    """The mean of the times from arrival to end, each weighted by its class."""
    loads: int
    loading_s: float
    loading_share: float
    """Of the devices' time until the last job's end: in how much of it a load went on."""
    busy_share: float
    """Of the devices' time until the last job's end: in how much of it a job ran."""
    makespan_s: float
    classes: Mapping[str, Waits]


def figures_of(
    host: str, policy: str, outcome: Outcome, devices: int, classes: Iterable[str]
) -> Figures:
    """Return the figures of one simulation; every class has some, served or not."""
    served = outcome.served
    time_s = outcome.makespan_s * devices
    return Figures(
        host=host,
        policy=policy,
        jobs=len(served) + len(outcome.refused),
        refused=len(outcome.refused),
        waits=_waits(served),
        cost_per_job_s=outcome.cost / len(served) if served else 0.0,
        loads=outcome.loads,
        loading_s=outcome.loading_s,
        loading_share=outcome.loading_s / time_s if served else 0.0,
        busy_share=_busy_s(served) / time_s if served else 0.0,
        makespan_s=outcome.makespan_s,
        classes={
            name: _waits([each for each in served if class_of(each.job) == name])
            for name in classes
        },
    )


def class_of(job: TraceJob) -> str:
    """Return the name of a job's class in tables."""
    return f"{job.model} {job.quality}"


def as_json(figures: Iterable[Figures]) -> list[dict[str, Any]]:
    """Return the figures for programs, to the millisecond."""
    return [_rounded(asdict(each)) for each in figures]


def tables(figures: Sequence[Figures]) -> str:
    """Return the figures for people: one row a host and policy, then the waits by class."""
    head = [
        "host",
        "policy",
        "jobs",
        "refused",
        "mean wait",
        "p50",
        "p95",
        "longest",
        "cost/job",
        "loads",
        "loading",
        "busy",
    ]
    whole = _table(head, [_row(each) for each in figures])
    classes = list(figures[0].classes) if figures else []
    by_class = _table(
        ["host", "policy", *classes],
        [[each.host, each.policy, *map(_short, each.classes.values())] for each in figures],
    )
    return (
        f"{whole}\n\n"
        "Seconds. cost/job: from arrival to end, weighted; busy: of the GPUs' time.\n\n"
        f"Mean wait (and what 95 % stayed below) by class\n{by_class}"
    )


def _row(each: Figures) -> list[str]:
    waits = each.waits
    return [
        each.host,
        each.policy,
        str(each.jobs),
        str(each.refused),
        f"{waits.mean_s:.1f}",
        f"{waits.p50_s:.1f}",
        f"{waits.p95_s:.1f}",
        f"{waits.longest_s:.1f}",
        f"{each.cost_per_job_s:.1f}",
        str(each.loads),
        f"{each.loading_s:.0f}",
        f"{each.busy_share:.0%}",
    ]


def _short(waits: Waits) -> str:
    return f"{waits.mean_s:.1f} ({waits.p95_s:.1f})" if waits.jobs else "-"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align words to the left and figures to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)  # noqa: PLR2004  host and policy
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in [head, *rows]
    )


def _waits(served: Sequence[Served]) -> Waits:
    if not served:
        return Waits(0, 0.0, 0.0, 0.0, 0.0)
    # The outcome's own quantiles, of a part of the jobs.
    part = Outcome(served, [], 0, 0.0)
    mean_s = fmean(each.wait_s for each in served)
    return Waits(len(served), mean_s, part.wait_s(0.5), part.wait_s(0.95), part.wait_s(1.0))


def _busy_s(served: Iterable[Served]) -> float:
    """Return the seconds in which something ran, of all devices together."""
    total = 0.0
    by_device = sorted(served, key=lambda each: (each.device, each.started_s))
    for _, runs in groupby(by_device, key=lambda each: each.device):
        until_s = 0.0
        for run in runs:
            total += max(0.0, run.ended_s - max(run.started_s, until_s))
            until_s = max(until_s, run.ended_s)
    return total


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return value
