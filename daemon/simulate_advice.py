"""What a simulation's figures mean, in sentences: what is best, and what holds jobs up."""

from collections.abc import Sequence

from daemon.simulate_report import Figures

FULL = 0.85
"""Of a device's time: busier than this, queues grow whatever the order of jobs is."""

MUCH_LOADING = 0.1
"""Of what devices do: more than this is worth memory of the host, or a larger device."""

ALIKE = 0.02
"""Costs that differ by no more aren't worth a change."""


def advice(figures: Sequence[Figures]) -> str:
    """Return some sentences; the first of the simulations is what the others are held against."""
    compared = [each for each in figures if each.waits.jobs]
    if not compared:
        return "No job could be served."
    sentences = [_state_of(compared[0])]
    if len(figures) > 1:
        sentences.append(_best(compared[0], [each for each in compared if not each.refused]))
    return "\n".join(sentences)


def _state_of(first: Figures) -> str:
    """Say what holds jobs up where they are now."""
    slowest, waits = max(first.classes.items(), key=lambda each: each[1].mean_s)
    state = f"{_name(first)}: jobs run in {first.busy_share:.0%} of the GPUs' time, models load in "
    state += f"{first.loading_share:.0%}"
    if not waits.mean_s:
        return f"{state}; nobody waits."
    state += f"; {slowest} waits longest, {waits.mean_s:.1f} s on the average."
    if first.busy_share > FULL:
        return f"{state} There is hardly any time left: more GPUs help, another order doesn't."
    if first.loading_share > MUCH_LOADING * (first.busy_share + first.loading_share):
        return f"{state} Loads are much of it: try --host-gb, or a larger GPU with --compare."
    return state


def _best(first: Figures, whole: Sequence[Figures]) -> str:
    """Say which is best, of those that served everything."""
    if not whole:
        return "None of them serves all jobs."
    best = min(whole, key=lambda each: each.cost_per_job_s)
    if first.refused:
        return f"{_name(best)} is the cheapest of those that serve all jobs."
    if best.cost_per_job_s > (1 - ALIKE) * first.cost_per_job_s:
        return f"Nothing here is clearly better than {_name(first)}."
    saved = 1 - best.cost_per_job_s / first.cost_per_job_s
    return (
        f"Best is {_name(best)}: {saved:.0%} less cost a job; jobs wait "
        f"{best.waits.mean_s:.1f} s on the average instead of {first.waits.mean_s:.1f}, "
        f"95 % of them at most {best.waits.p95_s:.1f} s instead of {first.waits.p95_s:.1f}."
    )


def _name(figures: Figures) -> str:
    return f"{figures.host}, {figures.policy}"
