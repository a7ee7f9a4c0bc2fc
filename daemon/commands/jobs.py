"""`jobs`: list, show, watch, cancel and retry rows of the jobs table."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from daemon.commands.desk import dsn_option, operators
from daemon.commands.outcomes import STATUSES, how_to_go_on, job_json
from daemon.commands.output import json_option, json_text, note, show_table, tell
from daemon.commands.running import Given, UserError, run
from daemon.exit_codes import INTERRUPTED
from daemon.job_types import JOB_TYPES
from daemon.simulate_options import Duration

if TYPE_CHECKING:
    from daemon.store.operators import ListedJob, Operators


@click.group("jobs")
def jobs_group() -> None:
    """List, show, watch, cancel and retry jobs. All of it takes the worker's rights.

    These are SUPABASE_WORKER_TOKEN, a secret or service role key, or a database login in the role
    ourvidz_worker. Rows of other providers don't exist here.
    """


@jobs_group.command("list")
@click.option("--status", "statuses", multiple=True, type=click.Choice(STATUSES))
@click.option(
    "--type", "job_types", multiple=True, type=click.Choice(list(JOB_TYPES)), metavar="JOB_TYPE"
)
@click.option("--user", type=click.UUID, help="Of this user alone.")
@click.option("--since", type=Duration(), help="Inserted within this time: 30m, 24h, 7d.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@dsn_option
@json_option
@click.pass_obj
def list_command(given: Given, /, **options: Any) -> None:
    """List jobs, the newest first; with --json one object a line.

    \b
    ourvidz-worker jobs list --status failed --since 24h
    ourvidz-worker jobs list --type chat --json | jq -r .id
    """

    async def listed() -> "list[ListedJob]":
        from daemon.store.operators import Wanted

        since = options["since"]
        async with operators(given, options["dsn"]) as desk:
            return await desk.find(
                Wanted(
                    statuses=options["statuses"] or None,
                    job_types=options["job_types"] or None,
                    user_id=options["user"],
                    since=datetime.now(UTC) - timedelta(seconds=since) if since else None,
                    limit=options["limit"],
                )
            )

    jobs = run(listed)
    if options["as_json"]:
        for job in jobs:
            click.echo(json_text(job_json(job)))
    elif jobs:
        from daemon.commands.tables import table_of

        show_table(table_of(jobs, datetime.now(UTC)))
    else:
        note("no such jobs")


@jobs_group.command("show")
@click.argument("job_id", type=click.UUID)
@dsn_option
@json_option
@click.pass_obj
def show_command(given: Given, job_id: UUID, dsn: str | None, as_json: bool) -> None:
    """Show all of one job but its request."""

    async def shown() -> "ListedJob":
        from daemon.store.operators import Wanted

        async with operators(given, dsn) as desk:
            found = await desk.find(Wanted(job_ids=(job_id,)))
        if not found:
            raise UserError(f"there is no job {job_id}")
        return found[0]

    job = run(shown)
    from daemon.commands.tables import sheet_of

    tell("" if as_json else sheet_of(job), job_json(job), as_json=as_json)


@jobs_group.command("watch")
@click.argument("job_id", type=click.UUID, required=False)
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0, min_open=True), help="Seconds to watch."
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder into which the job's files are fetched.",
)
@dsn_option
@json_option
@click.pass_obj
def watch_command(given: Given, /, **options: Any) -> None:
    """Watch one job to its end, or all unfinished ones.

    The one is shown as `submit` does, the others until Ctrl-C.

    Exit status of one job: 0 completed, 3 failed, 4 cancelled, 5 not finished within --timeout.
    """
    job_id: UUID | None = options["job_id"]

    async def watched() -> int:
        from daemon.commands.ending import wait_for

        async with operators(given, options["dsn"]) as desk:
            if job_id is None:
                from daemon.commands.watching import watch_all

                await watch_all(desk, as_json=options["as_json"], timeout_s=options["timeout_s"])
                return 0
            return await wait_for(
                desk,
                job_id,
                as_json=options["as_json"],
                output=options["output"],
                timeout_s=options["timeout_s"],
            )

    try:
        status = run(watched)
    except SystemExit as stopped:
        if job_id is not None and stopped.code == INTERRUPTED:
            note(f"\n{how_to_go_on(job_id)}")
        raise
    sys.exit(status)


@jobs_group.command("cancel")
@click.argument("job_ids", type=click.UUID, nargs=-1, required=True)
@dsn_option
@json_option
@click.pass_obj
def cancel_command(given: Given, job_ids: tuple[UUID, ...], dsn: str | None, as_json: bool) -> None:
    """Cancel unfinished jobs; a running one stops at its next step.

    Exit status 1 when one wasn't cancelled, since it doesn't exist or has ended otherwise.
    """

    async def cancelled(desk: "Operators", job_id: UUID) -> tuple[str | None, bool]:
        status = await desk.cancel(job_id)
        return status, status == "cancelled"

    _each(given, job_ids, dsn, cancelled, as_json=as_json)


@jobs_group.command("retry")
@click.argument("job_ids", type=click.UUID, nargs=-1, required=True)
@dsn_option
@json_option
@click.pass_obj
def retry_command(given: Given, job_ids: tuple[UUID, ...], dsn: str | None, as_json: bool) -> None:
    """Put failed or cancelled jobs back into the queue.

    They are run from the start, with all of their attempts.

    Exit status 1 when one wasn't put back, since it doesn't exist or has neither failed nor been
    cancelled.
    """

    async def retried(desk: "Operators", job_id: UUID) -> tuple[str | None, bool]:
        answer = await desk.retry(job_id)
        return (None, False) if answer is None else (answer.status, answer.retried)

    _each(given, job_ids, dsn, retried, as_json=as_json)


def _each(
    given: Given, job_ids: tuple[UUID, ...], dsn: str | None, act: Any, *, as_json: bool
) -> None:
    """Do it to each, say what each is now, and end with 1 when one couldn't be done."""

    async def done() -> list[tuple[UUID, str | None, bool]]:
        async with operators(given, dsn) as desk:
            return [(job_id, *await act(desk, job_id)) for job_id in job_ids]

    answers = run(done)
    for job_id, status, changed in answers:
        value = {"id": job_id, "status": status, "done": changed}
        tell(f"{job_id}  {_word(status, changed)}", value, as_json=as_json)
    if not all(changed for _, _, changed in answers):
        sys.exit(UserError.exit_code)


def _word(status: str | None, changed: bool) -> str:
    if status is None:
        return "there is no such job"
    return status if changed else f"left as it is: {status}"
