"""Who this worker is: a name that survives restarts, and a proof that nobody else bears it here.

A restarted worker takes back at once what its dead predecessor of the same name still holds. That
is safe only when the predecessor is dead for certain: a lock on a file of the name, which the
kernel drops with its process, proves it for this host.
"""

import contextlib
import fcntl
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from daemon.startup import NotYetError, StartupError
from daemon.values import WorkerIdentity


@contextlib.contextmanager
def identity(name: str, port: int, state_dir: Path) -> Iterator[WorkerIdentity]:
    """Take the name (by default host name and port) for the block.

    Raises:
        NotYetError: another worker of that name runs on this host.
        StartupError: the state folder can't be written.
    """
    worker_id = name or f"{socket.gethostname()}-{port}"
    folder = state_dir.expanduser()
    path = folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', worker_id)}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    except OSError as error:
        raise StartupError(
            f"the state folder {folder} can't be used ({error.strerror}): set OURVIDZ_STATE_DIR"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NotYetError(
                f'a worker named "{worker_id}" runs on this host already: '
                "set OURVIDZ_WORKER_NAME to another name"
            ) from error
        yield WorkerIdentity(worker_id, uuid4())
