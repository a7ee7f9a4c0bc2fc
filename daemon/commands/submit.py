"""`submit`: add a job as a frontend would, and show it until it ends."""

import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from daemon.commands.desk import dsn_option, operators
from daemon.commands.outcomes import how_to_go_on
from daemon.commands.output import json_option, note, tell
from daemon.commands.request import request_of
from daemon.commands.running import Given, run
from daemon.exit_codes import INTERRUPTED
from daemon.job_types import JOB_TYPES


@click.command("submit")
@click.argument("job_type", type=click.Choice(list(JOB_TYPES)), metavar="JOB_TYPE")
@click.option("--prompt", help="What to draw, film or say.")
@click.option("--message", help="What to say to the chat model.")
@click.option("--metadata", metavar="JSON|@FILE|-", help="The whole request; - reads stdin.")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A field of the request, such as width=512; JSON, else text. Several times.",
)
@click.option("--user", type=click.UUID, help="Whose job it is; nobody's by default.")
@click.option("--priority", type=click.IntRange(-100, 100), default=0, help="Higher goes first.")
@click.option("--wait/--no-wait", default=True, help="Wait for the end, or print the id alone.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0, min_open=True), help="Seconds to wait."
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder into which the files are fetched.",
)
@dsn_option
@json_option
@click.pass_obj
def submit_command(given: Given, /, **options: Any) -> None:
    """Add a job and show its progress until it ends.

    The answer, the files' addresses or, with --output, their paths go to stdout, all else to
    stderr. Exit status: 0 completed, 3 failed, 4 cancelled, 5 not finished within --timeout.
    Ctrl-C leaves the job running and says how to go on. Takes the worker's rights.

    \b
    ourvidz-worker submit chat --message "What is a lease?"
    ourvidz-worker submit sdxl_image_fast --prompt "a red circle" --param seed=1 --output pictures
    echo '{"prompt": "a lake"}' | ourvidz-worker submit video_fast --metadata - --no-wait
    """
    chosen = ("metadata", "prompt", "message", "params")
    request = request_of(**{name: options.pop(name) for name in chosen})
    added: list[UUID] = []
    try:
        status = run(lambda: _submit(given, request, added, options))
    except SystemExit as stopped:
        if added and stopped.code == INTERRUPTED:
            note(f"\n{how_to_go_on(added[0])}")
        raise
    sys.exit(status)


async def _submit(
    given: Given, request: dict[str, Any], added: list[UUID], options: dict[str, Any]
) -> int:
    from daemon.commands.ending import wait_for

    as_json = options["as_json"]
    async with operators(given, options["dsn"]) as desk:
        job_id = await desk.add(options["job_type"], request, options["user"], options["priority"])
        added.append(job_id)
        if not options["wait"]:
            tell(str(job_id), {"id": job_id}, as_json=as_json)
            return 0
        if not as_json:
            note(f"job {job_id}")
        return await wait_for(
            desk,
            job_id,
            as_json=as_json,
            output=options["output"],
            timeout_s=options["timeout_s"],
        )
