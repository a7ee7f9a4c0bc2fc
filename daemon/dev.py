"""`ourvidz-worker dev`: a local stack, small models, the schema, and a worker on top of them.

The stack and the preparation of the models are programs of their own, so that the worker's process
stays what it is in production: without PostgreSQL, torch or test code in it.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from daemon.settings import load_settings, merged
from daemon.startup import StartupError

_PR_SET_PDEATHSIG = 1

DEVICE_GB = 24.0
"""The simulated device of a development machine: not everything fits at once."""


@dataclass(frozen=True)
class DevOptions:
    """What the command line said."""

    config: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    stack_port: int = 54321
    data: Path | None = None
    as_json: bool = False


async def run_dev(options: DevOptions) -> None:
    """Run stack and worker until SIGINT or SIGTERM; the worker stops first."""
    from daemon.app import run
    from daemon.schema_command import bring_up_to_date

    async with _stack(options) as stack:
        models = await _prepare_models()
        await bring_up_to_date(stack["dsn"], dry_run=False)
        settings = load_settings(
            options.config, merged(dev_settings(stack, models), options.overrides)
        )

        def ready(port: int) -> None:
            worker_url = f"http://127.0.0.1:{port}"
            _announce({**stack, "worker_url": worker_url}, as_json=options.as_json)

        await run(settings, on_ready=ready)


def dev_settings(stack: Mapping[str, str], models: Mapping[str, str]) -> dict[str, Any]:
    """Return settings for a stack that is up, and folders of small models by name."""
    small: Mapping[str, Any] = {"dtype": "float32", "device": "cpu"}
    return {
        "supabase": {
            "url": stack["url"],
            "key": stack["anon_key"],
            "token": stack["worker_token"],
        },
        "device": {"simulate_gb": DEVICE_GB},
        # Three models at once would only get in one another's way on a few cores.
        "preload": (),
        "models": {
            "chat": {
                **small,
                "path": models["chat"],
                "name": "SmolLM2-135M-Instruct",
                # In seconds where vLLM takes half a minute to start; whoever wants that says so.
                "runner": os.environ.get("OURVIDZ_MODELS__CHAT__RUNNER", "transformers"),
            },
            "sdxl": {**small, "path": models["sdxl"]},
            "wan": {**small, "path": models["wan"]},
            "video": {**small, "path": models["wan"]},
        },
    }


@contextlib.asynccontextmanager
async def _stack(options: DevOptions) -> AsyncIterator[dict[str, str]]:
    arguments = ["-m", "devstack", "--json", "--port", str(options.stack_port)]
    if options.stack_port != DevOptions.stack_port:
        arguments += ["--db-port", "0"]
    if options.data is not None:
        arguments += ["--data", str(options.data)]
    stack = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        # A group of its own: Ctrl-C reaches the worker, which still needs the stack to drain.
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )
    try:
        yield await _json_line(stack, "the local stack")
    finally:
        with contextlib.suppress(ProcessLookupError):
            stack.send_signal(signal.SIGTERM)
        await stack.wait()


async def _prepare_models() -> dict[str, str]:
    preparing = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "devstack.models", "--json", stdout=asyncio.subprocess.PIPE
    )
    models = await _json_line(preparing, "preparing the small models")
    await preparing.wait()
    return models


async def _json_line(process: asyncio.subprocess.Process, what: str) -> dict[str, str]:
    """Read the one line that a program prints when it is ready."""
    if process.stdout is None:
        raise AssertionError("started without a pipe")
    line = await process.stdout.readline()
    if not line:
        raise StartupError(f"{what} failed with exit status {await process.wait()}")
    answer: dict[str, str] = json.loads(line)
    return answer


def _die_with_parent() -> None:
    """Have the kernel end the stack when this process is killed without a chance to do it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _announce(facts: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts))
        return
    click.echo("\nThe worker is up on a local stack (for development only).\n")
    names = {
        "url": "Supabase URL",
        "anon_key": "anon key",
        "service_role_key": "service role key",
        "dsn": "database",
        "worker_url": "worker",
    }
    for key, name in names.items():
        click.echo(f"  {name:<18}{facts[key]}")
    click.echo("\nCtrl-C stops both.\n")
