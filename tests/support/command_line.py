"""`ourvidz-worker` as an operator calls it: a process, its settings in the environment."""

import asyncio
import os
import pty
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from daemon_process import USUAL
from eventually import PATIENCE_S

import daemon


class Ran(NamedTuple):
    """How a command has ended, and what it said."""

    status: int
    stdout: str
    stderr: str


class CommandLine:
    """Starts commands.

    Args:
        folder: home and working directory.
        environment: settings.
        secrets: what no command may say.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], secrets: list[str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._secrets = secrets or []
        self._environment = {
            "PATH": os.environ["PATH"],
            # The code that the tests import, not another checkout that is installed.
            "PYTHONPATH": str(Path(daemon.__file__).parents[1]),
            "HOME": str(folder),
            **USUAL,
            **environment,
        }

    async def start(
        self, *arguments: str, stderr: int = asyncio.subprocess.PIPE, **environment: str
    ) -> asyncio.subprocess.Process:
        """Start a command."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "daemon",
            *arguments,
            env={**self._environment, **environment},
            cwd=self._folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )

    async def ended(self, process: asyncio.subprocess.Process, stdin: str = "") -> Ran:
        """Wait for its end; it must have told no secret and shown no traceback."""
        async with asyncio.timeout(2 * PATIENCE_S):
            out, err = await process.communicate(stdin.encode())
        ran = Ran(process.returncode or 0, out.decode(), (err or b"").decode())
        assert "Traceback" not in ran.stderr, ran.stderr
        for secret in self._secrets:
            assert secret not in ran.stdout + ran.stderr
        return ran

    async def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Ran:
        """Run a command to its end."""
        return await self.ended(await self.start(*arguments, **environment), stdin)

    async def on_terminal(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run a command whose stderr is a terminal; return its status and what that showed."""
        ours, theirs = pty.openpty()
        process = await self.start(*arguments, stderr=theirs, TERM="xterm", **environment)
        os.close(theirs)
        shown = asyncio.to_thread(_read_all, ours)
        _, text = await asyncio.gather(process.communicate(b""), shown)
        return process.returncode or 0, text

    @staticmethod
    async def interrupt_after(process: asyncio.subprocess.Process, words: str) -> str:
        """Press Ctrl-C when it has said this on stderr; return all that it had said by then."""
        assert process.stderr is not None
        said = ""
        async with asyncio.timeout(PATIENCE_S):
            while words not in said:
                line = await process.stderr.readline()
                assert line, f"it ended with: {said}"
                said += line.decode()
        process.send_signal(signal.SIGINT)
        return said


def _read_all(terminal: int) -> str:
    found = b""
    try:
        while piece := os.read(terminal, 4096):
            found += piece
    except OSError:  # How Linux says that the other end is closed.
        pass
    os.close(terminal)
    return found.decode()
