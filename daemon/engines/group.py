"""A process group that can be ended for certain, and a child's output line by line."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence

from daemon.engines.output import Output
from handlers.processes import members

__all__ = ["Child", "gone", "members", "signal_group", "start_group", "words_of_exit"]

_LOOK_AGAIN_S = 0.02
_LONGEST_PAUSE_S = 1.0
_LAST_OUTPUT_S = 2.0
_FLOOD_PAUSE_S = 0.1


class Child(asyncio.SubprocessProtocol):
    """The leader of a group: its end as an event, its output line by line.

    asyncio's own `Process.wait` waits for the output to close too, and a child of the engine
    that outlives it holds that open.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._output = Output(_now())
        self._transport: asyncio.SubprocessTransport | None = None
        self._silent = asyncio.Event()
        self.exited = asyncio.Event()

    @property
    def group(self) -> int:
        """The group's id, which is the leader's process id."""
        return self._started.get_pid()

    @property
    def last_lines(self) -> list[str]:
        """The last lines of its output."""
        return self._output.last_lines

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._started.get_returncode()

    @property
    def _started(self) -> asyncio.SubprocessTransport:
        if self._transport is None:
            raise AssertionError("not started: start_group returns a started child")
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, as asyncio hands it over."""
        if isinstance(transport, asyncio.SubprocessTransport):
            self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Pass on whole lines; whoever floods the pipe is read more slowly, and so has to wait."""
        for line in self._output.feed(data, _now()):
            self._log(line)
        pipe = self._started.get_pipe_transport(fd)
        if self._output.flooded and isinstance(pipe, asyncio.ReadTransport):
            pipe.pause_reading()
            asyncio.get_running_loop().call_later(_FLOOD_PAUSE_S, pipe.resume_reading)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Pass on what came after the last line's end."""
        del fd, exc
        for line in self._output.end():
            self._log(line)
        self._silent.set()

    def process_exited(self) -> None:
        """Note the leader's end; others of the group may live on."""
        self.exited.set()

    async def close(self) -> None:
        """Wait shortly for the last output, then let go of the pipe."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_OUTPUT_S):
                await self._silent.wait()
        self._started.close()


def _now() -> float:
    return asyncio.get_running_loop().time()


async def start_group(
    command: Sequence[str],
    environment: Mapping[str, str],
    descriptors: Sequence[int],
    log: Callable[[str], None],
) -> Child:
    """Start a command as the leader of a new process group, its output on one pipe."""
    _, child = await asyncio.get_running_loop().subprocess_exec(
        lambda: Child(log),
        *command,
        env=environment,
        pass_fds=descriptors,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # A session of its own: Ctrl-C in a terminal must not reach it before the drain is over.
        start_new_session=True,
    )
    return child


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to each process of the group; an empty group is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


async def gone(group: int) -> None:
    """Kill what is left of a group and wait until nothing of it lives.

    The kernel gives no event for the end of an orphan's last process, so this looks again until
    it is gone, less and less often: one that can't be killed may take for ever.
    """
    pause_s = _LOOK_AGAIN_S
    while members(group):
        signal_group(group, signal.SIGKILL)
        await asyncio.sleep(pause_s)
        pause_s = min(_LONGEST_PAUSE_S, pause_s * 1.2)


def words_of_exit(returncode: int) -> str:
    """Say how a process ended."""
    if returncode >= 0:
        return f"exited with status {returncode}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-returncode).name
        hint = ", as the kernel does when memory runs out" if name == "SIGKILL" else ""
        return f"was killed by {name}{hint}"
    return f"was killed by signal {-returncode}"
