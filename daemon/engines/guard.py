"""A process beside the engine that ends the whole group when the daemon is gone.

The engine alone can't be trusted with it: a library may hold the interpreter for minutes, or the
engine may be the one that is stuck. The guard sleeps in one `read` on a pipe whose other end only
the daemon holds; the kernel closes that end however the daemon dies, SIGKILL included.
"""

import os
import signal


def start_guard(lifeline: int, connection: int) -> None:
    """Fork the guard. Call it before there are threads; only the guard keeps the lifeline."""
    if os.fork() != 0:
        os.close(lifeline)
        return
    try:
        _stand_guard(lifeline, connection)
    finally:
        os._exit(0)


def _stand_guard(lifeline: int, connection: int) -> None:
    # It must not hold open what tells the daemon that the engine has ended.
    os.close(connection)
    for standard in (0, 1, 2):
        os.close(standard)
    # SIGTERM asks the engine to end; the guard stays until the group is killed.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)
