"""Watching all unfinished jobs: a live table on a terminal, else a line for each change."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import click

from daemon.commands.following import POLL_S
from daemon.commands.outcomes import job_json, state_of
from daemon.commands.output import console, json_text, printable

if TYPE_CHECKING:
    from daemon.store.operators import ListedJob, Operators

_MOST = 200
"""Unfinished jobs that are read at each look; of a longer queue the newest."""
_KEPT = 20
"""Finished ones that stay in the table."""

Show = Callable[["Sequence[ListedJob]"], None]


async def watch_all(
    desk: "Operators", *, as_json: bool, timeout_s: float | None, poll_s: float = POLL_S
) -> None:
    """Show jobs and what becomes of them until the time is over, or for ever."""
    from daemon.values import StoreUnavailableError

    look, seen = _Look(desk), False
    with contextlib.suppress(TimeoutError), _shown(as_json=as_json) as show:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    show(await look())
                    seen = True
                except StoreUnavailableError:
                    # As in following one job: only the first look must work.
                    if not seen:
                        raise
                await asyncio.sleep(poll_s)


class _Look:
    """Reads what is unfinished, and what became of that which was so at the last look."""

    def __init__(self, desk: "Operators") -> None:
        self._desk = desk
        self._unfinished: set[UUID] = set()

    async def __call__(self) -> "list[ListedJob]":
        from daemon.store.operators import Wanted

        found = await self._desk.find(Wanted(statuses=("queued", "processing"), limit=_MOST))
        there = {job.row.id for job in found}
        if gone := self._unfinished - there:
            found += await self._desk.find(Wanted(job_ids=tuple(gone), limit=len(gone)))
        self._unfinished = there
        return found


@contextlib.contextmanager
def _shown(*, as_json: bool) -> Iterator[Show]:
    terminal = console()
    if as_json or not terminal.is_terminal:
        yield _Lines(as_json=as_json)
        return
    from rich.live import Live

    from daemon.commands.tables import table_of

    ended: list[ListedJob] = []
    with Live(console=terminal, auto_refresh=False) as live:

        def show(jobs: "Sequence[ListedJob]") -> None:
            ended.extend(job for job in jobs if job.row.finished)
            del ended[:-_KEPT]
            running = [job for job in jobs if not job.row.finished]
            live.update(table_of([*running, *reversed(ended)], datetime.now(UTC)), refresh=True)

        yield show


class _Lines:
    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._last: dict[UUID, ListedJob] = {}

    def __call__(self, jobs: "Sequence[ListedJob]") -> None:
        for job in reversed(jobs):
            if self._last.get(job.row.id) == job:
                continue
            line = f"{job.row.id}  {job.row.job_type}  {state_of(job.row)}"
            click.echo(json_text(job_json(job)) if self._as_json else printable(line))
        self._last = {job.row.id: job for job in jobs if not job.row.finished}
