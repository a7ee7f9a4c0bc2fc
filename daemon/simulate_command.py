"""The `simulate` command: what would have happened to a trace, on other hosts or by other policies.

The scheduler that the worker runs, under virtual time; nothing of it touches a GPU.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from daemon.model_specs import specs_from
from daemon.scheduling.models import ModelSpec
from daemon.scheduling.simulation import Outcome, StandstillError
from daemon.scheduling.trace import Trace
from daemon.settings import Settings, SettingsError
from daemon.simulate_advice import advice
from daemon.simulate_options import PLOTS, SimulateOptions
from daemon.simulate_report import Figures, as_json, class_of, figures_of, tables
from daemon.simulate_source import arrivals_of, check_source, trace_of
from daemon.simulate_worlds import Case, cases_of
from daemon.startup import StartupError
from daemon.traces import TraceError, write_trace

Plotter = Callable[[Path, Sequence[tuple[str, str, Outcome]]], None]
"""Draws hosts, policies and their outcomes."""


def simulate(settings: Settings, options: SimulateOptions) -> None:
    """Simulate and report on stdout; notes go to stderr.

    Raises:
        StartupError: something that was asked for can't be had; what could be is printed before.
    """
    check_source(options)
    plotter = None if options.plot is None else _plotter(options.plot)
    models = _models(settings)
    cases = cases_of(options, settings, models)
    arrivals, source = arrivals_of(options, settings, models)
    if options.export is not None:
        try:
            write_trace(options.export, arrivals)
        except TraceError as error:
            raise StartupError(str(error)) from error
        click.echo(f"wrote {len(arrivals)} jobs to {options.export}", err=True)
    if options.from_database:
        click.echo("requests that came over HTTP alone leave no rows: they aren't in it", err=True)
    trace, left_out = trace_of(arrivals, models)
    _say_left_out(left_out)
    if not trace:
        lacking = "none that a model here serves" if arrivals else "none at all"
        raise StartupError(f"no jobs to simulate: {source}, {lacking}")

    outcomes, problems = _outcomes(cases, trace)
    _report(cases, trace, outcomes, source if not options.as_json else None)
    if plotter is not None and options.plot is not None:
        _draw(plotter, options.plot, cases, outcomes)
    if problems:
        raise StartupError("\n".join(problems))


def _models(settings: Settings) -> tuple[ModelSpec, ...]:
    try:
        return specs_from(settings.enabled_models)
    except SettingsError as error:
        raise StartupError(f"settings are wrong\n{error}") from error


def _plotter(path: Path) -> Plotter:
    """Return what draws, before anything that takes time; it may not be installed."""
    if path.suffix.lower() not in PLOTS:
        raise StartupError(f"--plot: {path} must end in {' or '.join(PLOTS)}")
    try:
        from daemon.simulate_plot import plot
    except ImportError as error:
        raise StartupError(
            "--plot needs matplotlib, which isn't installed: pip install 'ourvidz-worker[simulate]'"
        ) from error
    return plot


def _say_left_out(left_out: Counter[str]) -> None:
    if left_out:
        names = ", ".join(f"{count} {name[:100]}" for name, count in left_out.most_common(8))
        click.echo(f"left out, since no model here serves them: {names}", err=True)


def _outcomes(cases: Sequence[Case], trace: Trace) -> tuple[dict[int, Outcome], list[str]]:
    """Return what became of the trace in each case, by number, and what went wrong."""
    outcomes, problems = {}, []
    for number, case in enumerate(cases):
        try:
            outcome = outcomes[number] = case.world.run(trace, case.policy)
        except StandstillError as error:
            problems.append(f"{case.host}, {case.policy_name}: it stands still: {error}")
            continue
        if outcome.refused:
            problems.append(
                f"{case.host}, {case.policy_name}: {len(outcome.refused)} of {len(trace)} jobs "
                "were refused, since no device can take them"
            )
    return outcomes, problems


def _report(
    cases: Sequence[Case], trace: Trace, outcomes: Mapping[int, Outcome], source: str | None
) -> None:
    classes = sorted({class_of(job) for job in trace})
    figures: list[Figures] = []
    for number, outcome in outcomes.items():
        case = cases[number]
        devices = len(case.world.devices)
        figures.append(figures_of(case.host, case.policy_name, outcome, devices, classes))
    if source is None:
        click.echo(json.dumps(as_json(figures), indent=2))
    elif figures:
        hours = trace[-1].arrives_s / 3600
        found = f"{tables(figures)}\n\n{advice(figures)}"
        click.echo(f"{len(trace)} jobs in {hours:.1f} h, {source}\n\n{found}")


def _draw(
    plotter: Plotter, path: Path, cases: Sequence[Case], outcomes: Mapping[int, Outcome]
) -> None:
    drawn = [
        (cases[number].host, cases[number].policy_name, outcome)
        for number, outcome in outcomes.items()
    ]
    try:
        plotter(path, drawn)
    except OSError as error:
        raise StartupError(f"the plot can't be written: {error}") from error
    click.echo(f"drew {path}", err=True)
