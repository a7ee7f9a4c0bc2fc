"""In which way an engine was lost, from how its process ended. Pure."""

import signal

from daemon.values import Loss

EXIT_BROKEN = 70
"""Exit status of an engine whose device no longer answers."""

_OF_OTHERS = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals that a process doesn't bring on itself: the kernel or somebody sent them."""


def loss_of_exit(returncode: int) -> Loss:
    """Return the loss that an exit status means where nobody here ended the process."""
    if returncode == EXIT_BROKEN:
        return Loss.POISONED
    return Loss.KILLED if -returncode in _OF_OTHERS else Loss.CRASHED
