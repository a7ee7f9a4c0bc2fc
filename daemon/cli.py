"""The command line. What an operator can mend is one message on stderr and exit status 1.

docs/cli.md has all exit statuses, `exit_codes` those of a worker.
"""

import os
import time
from pathlib import Path
from typing import Any

import click

from daemon.commands.completion import completion_command
from daemon.commands.config import config_group
from daemon.commands.doctor import doctor_command
from daemon.commands.jobs import jobs_group
from daemon.commands.output import json_option, tell
from daemon.commands.running import Given, UserError, run, settings_of
from daemon.commands.submit import submit_command
from daemon.simulate_options import SimulateOptions, simulate_options

CONFIG_FILES = (Path("ourvidz-worker.toml"), Path("/etc/ourvidz-worker/config.toml"))
"""Looked for in this order when `--config` doesn't name one."""

SHORTEST_SECRET = 32
"""Bytes; PostgREST takes no shorter one."""

WORKER_TYPES = ("all", "chat", "sdxl", "wan", "video")


@click.group(
    invoke_without_command=True,
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
)
@click.option(
    "--config", type=click.Path(path_type=Path), envvar="OURVIDZ_CONFIG", help="TOML file."
)
@click.option("--worker-type", type=click.Choice(WORKER_TYPES), help="Models to serve.")
@click.option("--port", type=click.IntRange(0, 65535), help="HTTP port (7861); 0: any free one.")
@click.option("--dev", is_flag=True, help="Run on a local stack with small models; see `dev`.")
@click.version_option(package_name="ourvidz-worker")
@click.pass_context
def main(
    context: click.Context,
    config: Path | None,
    worker_type: str | None,
    port: int | None,
    dev: bool,
) -> None:
    """GPU worker for a Supabase jobs table. Without a command: run.

    \b
    ourvidz-worker --worker-type chat             run with one model
    ourvidz-worker doctor                         look at all that a worker needs
    ourvidz-worker submit chat --message "Hi"     add a job and wait for its answer
    """
    overrides: dict[str, Any] = {}
    if worker_type is not None:
        overrides["worker_type"] = worker_type
    if port is not None:
        overrides["server"] = {"port": port}
    context.obj = Given(
        config or next((path for path in CONFIG_FILES if path.is_file()), None), overrides
    )
    if context.invoked_subcommand is None:
        context.invoke(dev_command if dev else run_command)


@main.command("run")
@click.pass_obj
def run_command(given: Given) -> None:
    """Run the worker until SIGINT or SIGTERM.

    SIGHUP has the settings read again.
    """
    settings = settings_of(given)

    from daemon.app import run as run_worker
    from daemon.settings import load_settings

    run(lambda: run_worker(settings, reread=lambda: load_settings(*given)))


@main.command("migrate")
@click.option(
    "--dsn",
    envvar=["OURVIDZ_MIGRATE_DSN", "DATABASE_URL"],
    required=True,
    help="Connection string of a role that may create tables.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be applied.")
@json_option
def migrate_command(dsn: str, dry_run: bool, as_json: bool) -> None:
    """Bring the database's schema up to this version."""
    from daemon.schema_command import bring_up_to_date

    names = run(lambda: bring_up_to_date(dsn, dry_run=dry_run))
    word = "pending" if dry_run else "applied"
    lines = "\n".join(f"{word}: {name}" for name in names) or "nothing to apply"
    tell(lines, {word: names}, as_json=as_json)


@main.command("token")
@click.option("--secret-env", required=True, help="Variable that holds the project's JWT secret.")
@click.option("--days", type=click.IntRange(1), default=365, show_default=True, help="Validity.")
@json_option
def token_command(secret_env: str, days: int, as_json: bool) -> None:
    """Make a token for SUPABASE_WORKER_TOKEN.

    Its role is ourvidz_worker. Make it where the secret may be, which is not the GPU host.
    """
    from daemon.credentials import expiry_of, mint

    secret = os.environ.get(secret_env, "")
    if len(secret.encode()) < SHORTEST_SECRET:
        raise UserError(
            f"{secret_env} holds no JWT secret: it has {len(secret.encode())} bytes, "
            f"and one has at least {SHORTEST_SECRET}"
        )
    now = time.time()
    token = mint(secret, days, now)
    tell(token, {"token": token, "expires_at": expiry_of(token)}, as_json=as_json)


@main.command("dev")
@click.option(
    "--stack-port",
    type=click.IntRange(0, 65535),
    default=lambda: os.environ.get("OURVIDZ_DEV_STACK_PORT", "54321"),
    show_default="54321",
    help="The stack's port; 0: any free one.",
)
@click.option("--data", type=click.Path(path_type=Path), help="Where the stack keeps its data.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line on stdout when ready.")
@click.pass_obj
def dev_command(
    given: Given,
    stack_port: int,
    data: Path | None,
    as_json: bool,
) -> None:
    """Run the worker on a local stack of its own.

    With small models on the CPU, for development.
    """
    from daemon.dev import DevOptions, run_dev

    options = DevOptions(
        config=given.config,
        overrides=given.overrides,
        stack_port=stack_port,
        data=data,
        as_json=as_json,
    )
    run(lambda: run_dev(options))


@main.command("simulate")
@simulate_options
@click.pass_obj
def simulate_command(given: Given, /, **options: Any) -> None:
    """Say how jobs would fare on other GPUs.

    Or with other budgets, or by other policies.

    The worker's own scheduler runs in virtual time on jobs of a file, of the database, or made up;
    models, budgets and expected seconds are those of the settings.
    """
    from daemon.simulate_command import simulate
    from daemon.startup import StartupError

    try:
        simulate(settings_of(given), SimulateOptions(**options))
    except StartupError as error:
        raise UserError(str(error)) from error


for _command in (
    submit_command,
    jobs_group,
    doctor_command,
    config_group,
    completion_command,
):
    main.add_command(_command)
