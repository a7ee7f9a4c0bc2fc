"""What vLLM finds around it: variables that it reads at its import, and where it logs.

What its own processes log of their end is kept in memory as well, since the exception that comes
back from them names no cause. It is a file without a name, which ends with this process.

Nothing may be left of an engine, however it ends. vLLM's sockets and shared memory have names in
the file system that only an orderly end takes away; so they are taken away as soon as all its
processes have opened them. What is open works on, and ends with the last process that has it.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from handlers.processes import members

_VARIABLES = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    # Engines share the cores with one another; threads bound to cores would fight for the same.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
_SOCKETS = "VLLM_RPC_BASE_PATH"
_SHARED = re.compile(r"/dev/shm/(?:psm_|sem\.mp-)\w+$", re.MULTILINE)  # noqa: S108 -- names that the kernel tells
"""Of multiprocessing; once the name is gone, "(deleted)" follows it there."""

_LEVEL = "WARNING"
_ERROR = re.compile(r"([A-Za-z_][\w.]*(?:Error|Exception|Interrupt)): (\S.*)")
_VAGUE = re.compile(r"Engine core|WorkerProc|EngineCore|Executor failed|cancelled")
"""Errors that only say that another one came before."""


class Surroundings:
    """Sets the variables; made before vLLM is imported."""

    def __init__(self) -> None:
        for name, value in _VARIABLES.items():
            os.environ.setdefault(name, value)
        # It would take the place of the KV cache's size that the budget leaves.
        os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)
        folder = tempfile.mkdtemp(prefix="ourvidz-vllm-", dir=os.environ.get(_SOCKETS))
        self._sockets = os.environ[_SOCKETS] = folder
        self._errors = _unnamed_file("errors")
        configuration = _unnamed_file("logging")
        configuration.write_text(json.dumps(_logging(self._errors)))
        os.environ["VLLM_LOGGING_CONFIG_PATH"] = str(configuration)

    def cause(self) -> str | None:
        """Return the first error that vLLM's processes have logged, as `class: message`."""
        found = [
            f"{match[1].rpartition('.')[2]}: {match[2]}"
            for match in _ERROR.finditer(self._errors.read_text(errors="replace"))
        ]
        return next((each for each in found if not _VAGUE.search(each)), None)

    def remove_names(self) -> None:
        """Take the names of sockets and shared memory away; all processes have opened them."""
        shutil.rmtree(self._sockets, ignore_errors=True)
        for process in members(os.getpgrp()):
            with contextlib.suppress(OSError):
                maps = Path(f"/proc/{process}/maps").read_text()
                for name in set(_SHARED.findall(maps)):
                    Path(name).unlink(missing_ok=True)


def _unnamed_file(name: str) -> Path:
    """Return the path by which this process and its children find a file in memory."""
    return Path(f"/proc/{os.getpid()}/fd/{os.memfd_create(name)}")


def _logging(errors: Path) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "line", "level": _LEVEL},
            "errors": {
                "class": "logging.FileHandler",
                "filename": str(errors),
                "formatter": "line",
                "level": "ERROR",
            },
        },
        "loggers": {
            "vllm": {"handlers": ["stderr", "errors"], "level": _LEVEL, "propagate": False}
        },
    }
