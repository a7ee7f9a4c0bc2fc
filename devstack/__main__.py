"""`python -m devstack`: the stack in the foreground, until Ctrl-C or SIGTERM."""

import asyncio
import json
import os
import signal
from pathlib import Path

import click

from devstack.errors import StartError
from devstack.stack import Stack


def default_data_dir() -> Path:
    """Return where the stack keeps its data between runs."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "ourvidz-worker" / "stack"


@click.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where everything is kept. [default: ~/.cache/ourvidz-worker/stack]",
)
@click.option("--port", default=54321, show_default=True, help="The HTTP port, 0 for a free one.")
@click.option(
    "--db-port", default=54322, show_default=True, help="PostgreSQL's port, 0 for a free one."
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON when ready.")
def main(data: Path | None, port: int, db_port: int, *, as_json: bool) -> None:
    """Run a Supabase-compatible stack for development; never for production."""
    stack = Stack(data or default_data_dir(), port=port, postgres_port=db_port, fsync=True)
    try:
        asyncio.run(_serve(stack, as_json=as_json))
    except StartError as error:
        raise click.ClickException(str(error)) from None


async def _serve(stack: Stack, *, as_json: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with stack:
        click.echo(json.dumps(_facts(stack)) if as_json else _sheet(stack))
        await stop.wait()


def _facts(stack: Stack) -> dict[str, str]:
    names = ("url", "dsn", "anon_key", "service_role_key", "worker_token", "jwt_secret")
    return {name: getattr(stack, name) for name in names}


def _sheet(stack: Stack) -> str:
    rows = [f"{name.replace('_', ' '):<17} {value}" for name, value in _facts(stack).items()]
    return "\n".join(["The local stack is ready; Ctrl-C stops it.", "", *rows])


if __name__ == "__main__":
    main()
