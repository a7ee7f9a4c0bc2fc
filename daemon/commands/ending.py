"""Waiting for one job, and saying what became of it: what `submit` and `jobs watch` share."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click

from daemon.commands.files import download
from daemon.commands.following import display, follow
from daemon.commands.outcomes import TIMED_OUT, answer_of, artifacts_of, exit_status, how_to_go_on
from daemon.commands.output import note, printable

if TYPE_CHECKING:
    from daemon.job_rows import JobRow
    from daemon.store.operators import Operators


async def wait_for(
    desk: "Operators",
    job_id: UUID,
    *,
    as_json: bool,
    output: Path | None = None,
    timeout_s: float | None = None,
) -> int:
    """Follow a job to its end, print the answer or the files, and return the exit status."""
    try:
        with display(as_json=as_json) as show:
            async with asyncio.timeout(timeout_s):
                job = await follow(desk, job_id, show)
    except TimeoutError:
        note(f"not finished within {timeout_s:g} s; {how_to_go_on(job_id)}")
        return TIMED_OUT
    await _say(job.row, as_json=as_json, output=output)
    return exit_status(job.row)


async def _say(row: "JobRow", *, as_json: bool, output: Path | None) -> None:
    if row.status == "failed" and not as_json:
        note(f"ourvidz-worker: the job failed: {row.error_code}: {row.error}")
    answer, files = answer_of(row.result), artifacts_of(row.result)
    if answer is not None and not as_json:
        click.echo(printable(answer))
    if output is not None and files:
        paths = await download(files, output, row.id)
        # With --json stdout is for objects alone.
        click.echo("\n".join(map(str, paths)), file=sys.stderr if as_json else sys.stdout)
    elif not as_json:
        for file in files:
            click.echo(printable(str(file.get("url") or file["path"])))
