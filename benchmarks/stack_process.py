"""The local stack in a process of its own, so that its work isn't measured as the daemon's."""

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from daemon.migrate import migrate


@dataclass(frozen=True)
class StackProcess:
    """What a client of the stack needs."""

    url: str
    dsn: str
    anon_key: str
    service_role_key: str
    worker_token: str
    jwt_secret: str


@contextlib.asynccontextmanager
async def stack_process() -> AsyncIterator[StackProcess]:
    """Run a migrated stack in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="ourvidz-bench-") as folder:
        Path(folder).chmod(0o755)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "devstack", "--port", "0", "--db-port", "0"),
            *("--data", str(Path(folder) / "stack"), "--json"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            told = json.loads(await process.stdout.readline())
            names = StackProcess.__dataclass_fields__
            stack = StackProcess(**{name: told[name] for name in names})
            await migrate(stack.dsn, report=lambda _: None)
            yield stack
        finally:
            process.terminate()
            await process.wait()
