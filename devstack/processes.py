"""PostgreSQL's server as a process: stop it, and tell it from others of its number."""

import asyncio
import os
import re
import signal
from pathlib import Path


async def end_server(
    process: asyncio.subprocess.Process, patience_s: float, *, at_once: bool = False
) -> None:
    """Stop a server: in good order, then at once, then by force.

    Args:
        process: The server; one that has ended stays so.
        patience_s: How long each way may take.
        at_once: Whether to leave the good order out, as in a crash.
    """
    ways = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
    for stop in ways[at_once:]:
        if process.returncode is None:
            process.send_signal(stop)
        try:
            await asyncio.wait_for(process.wait(), patience_s)
            return
        except TimeoutError:
            continue


def is_running_postgres(pid: int) -> bool:
    """Whether a process id of a lock file still belongs to a PostgreSQL server."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        _, name, state = re.split(r"[()]", Path(f"/proc/{pid}/stat").read_text(), maxsplit=2)
    except (FileNotFoundError, ValueError):
        # Not Linux, or gone since: the next look at the lock file decides.
        return True
    # A container without an init process keeps the dead as zombies.
    return name == "postgres" and not state.startswith(" Z")
