"""The command line. What an operator can mend is one message on stderr and exit status 1.

`exit_codes` has the other statuses.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from daemon.exit_codes import DEFECT, INTERRUPTED, MISTAKE, TRY_AGAIN
from daemon.settings import Settings, SettingsError, load_settings
from daemon.simulate_options import SimulateOptions, simulate_options

CONFIG_FILES = (Path("ourvidz-worker.toml"), Path("/etc/ourvidz-worker/config.toml"))
"""Looked for in this order when `--config` doesn't name one."""

SHORTEST_SECRET = 32
"""Bytes; PostgREST takes no shorter one."""

WORKER_TYPES = ("all", "chat", "sdxl", "wan", "video")


class UserError(click.ClickException):
    """Something that the operator can mend; shown without a traceback."""

    exit_code = MISTAKE

    def show(self, file: Any = None) -> None:
        """Write the message to stderr, each line as it is."""
        click.echo(f"ourvidz-worker: {self.message}", file=file, err=True)


class TryAgainError(UserError):
    """Something that may mend itself."""

    exit_code = TRY_AGAIN


@click.group(invoke_without_command=True, context_settings={"max_content_width": 100})
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
    """GPU worker for a Supabase jobs table. Without a command: run."""
    overrides: dict[str, Any] = {}
    if worker_type is not None:
        overrides["worker_type"] = worker_type
    if port is not None:
        overrides["server"] = {"port": port}
    context.obj = (
        config or next((path for path in CONFIG_FILES if path.is_file()), None),
        overrides,
    )
    if context.invoked_subcommand is None:
        context.invoke(dev_command if dev else run_command)


@main.command("run")
@click.pass_obj
def run_command(given: tuple[Path | None, dict[str, Any]]) -> None:
    """Run the worker until SIGINT or SIGTERM; SIGHUP reads the settings again."""
    settings = _settings(*given)

    from daemon.app import run

    _run(lambda: run(settings, reread=lambda: load_settings(*given)))


@main.command("migrate")
@click.option(
    "--dsn",
    envvar=["OURVIDZ_MIGRATE_DSN", "DATABASE_URL"],
    required=True,
    help="Connection string of a role that may create tables.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be applied.")
def migrate_command(dsn: str, dry_run: bool) -> None:
    """Bring the database's schema up to this version."""
    from daemon.schema_command import bring_up_to_date

    names = _run(lambda: bring_up_to_date(dsn, dry_run=dry_run))
    word = "pending" if dry_run else "applied"
    click.echo("\n".join(f"{word}: {name}" for name in names) or "nothing to apply")


@main.command("token")
@click.option("--secret-env", required=True, help="Variable that holds the project's JWT secret.")
@click.option("--days", type=click.IntRange(1), default=365, show_default=True, help="Validity.")
def token_command(secret_env: str, days: int) -> None:
    """Make a token of the role ourvidz_worker, for SUPABASE_WORKER_TOKEN."""
    from daemon.credentials import mint

    secret = os.environ.get(secret_env, "")
    if len(secret.encode()) < SHORTEST_SECRET:
        raise UserError(
            f"{secret_env} holds no JWT secret: it has {len(secret.encode())} bytes, "
            f"and one has at least {SHORTEST_SECRET}"
        )
    click.echo(mint(secret, days, time.time()))


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
    given: tuple[Path | None, dict[str, Any]],
    stack_port: int,
    data: Path | None,
    as_json: bool,
) -> None:
    """Run the worker on a local stack of its own, with small models on the CPU."""
    from daemon.dev import DevOptions, run_dev

    options = DevOptions(
        config=given[0], overrides=given[1], stack_port=stack_port, data=data, as_json=as_json
    )
    _run(lambda: run_dev(options))


@main.command("simulate")
@simulate_options
@click.pass_obj
def simulate_command(given: tuple[Path | None, dict[str, Any]], /, **options: Any) -> None:
    """Say what would have become of jobs on other GPUs, budgets or by other policies.

    The worker's own scheduler runs in virtual time on jobs of a file, of the database, or made up;
    models, budgets and expected seconds are those of the settings.
    """
    from daemon.simulate_command import simulate
    from daemon.startup import StartupError

    try:
        simulate(_settings(*given), SimulateOptions(**options))
    except StartupError as error:
        raise UserError(str(error)) from error


def _settings(config: Path | None, overrides: dict[str, Any]) -> Settings:
    try:
        return load_settings(config, overrides)
    except SettingsError as error:
        raise UserError(f"settings are wrong\n{error}") from error


def _run(start: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run to the end; turn what the operator can mend into a message."""
    from daemon.startup import NotYetError, StartupError

    try:
        return asyncio.run(start())
    except StartupError as error:
        kind = TryAgainError if isinstance(error, NotYetError) else UserError
        raise kind(str(error)) from error
    except SettingsError as error:
        raise UserError(f"settings are wrong\n{error}") from error
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception:  # noqa: BLE001 -- a defect of any kind; its status tells it from a mistake
        sys.excepthook(*sys.exc_info())
        sys.exit(DEFECT)
