"""Following one job until it has ended: it is read again and again, and each change is shown.

The row is the truth, by whichever way it is reached; events would have to be backed by reading all
the same.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from daemon.commands.outcomes import job_json, state_of
from daemon.commands.output import console, json_text, note, printable
from daemon.commands.running import UserError

if TYPE_CHECKING:
    from daemon.store.operators import ListedJob, Operators

POLL_S = 0.5
"""Between two looks. A worker writes progress at most twice a second."""

Show = Callable[["ListedJob"], None]


async def follow(
    desk: "Operators", job_id: UUID, show: Show, *, poll_s: float = POLL_S
) -> "ListedJob":
    """Show a job at each look, and return it when it has ended.

    Raises:
        UserError: there is no such job.
    """
    from daemon.store.operators import Wanted
    from daemon.values import StoreUnavailableError

    wanted, seen = Wanted(job_ids=(job_id,)), False
    while True:
        try:
            found = await desk.find(wanted)
        except StoreUnavailableError:
            # Somebody who waits for an hour's film should survive a minute without a network.
            if not seen:
                raise
        else:
            if not found:
                raise UserError(f"there is no job {job_id} that a worker of this kind runs")
            seen = True
            show(found[0])
            if found[0].row.finished:
                return found[0]
        await asyncio.sleep(poll_s)


def display(*, as_json: bool) -> "AbstractContextManager[Show]":
    """Return what shows: JSON lines on stdout; a bar on a terminal's stderr, or lines there."""
    if as_json:
        return nullcontext(_Changes(lambda job: click.echo(json_text(job_json(job)))))
    terminal = console(err=True)
    if terminal.is_terminal:
        return _Bar(terminal)
    return nullcontext(_Changes(_line))


def _line(job: "ListedJob") -> None:
    # What a failure was is said at the end.
    if job.row.status != "failed":
        note(state_of(job.row))


class _Changes:
    """Passes a job on when it isn't as it was."""

    def __init__(self, tell: Show) -> None:
        self._tell = tell
        self._last: ListedJob | None = None

    def __call__(self, job: "ListedJob") -> None:
        if job != self._last:
            self._last = job
            self._tell(job)


class _Bar:
    """A bar with the step beside it."""

    def __init__(self, terminal: Any) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            console=terminal,
        )
        self._bar = self._progress.add_task("", total=100, state="")

    def __enter__(self) -> Show:
        self._progress.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _show(self, job: "ListedJob") -> None:
        row = job.row
        state = (row.current_step or "") if row.status == "processing" else state_of(row)
        self._progress.update(
            self._bar, description=row.job_type, completed=row.progress, state=printable(state)
        )
