"""Makes each small model once, each in a process of its own, and says where it is.

A process each, since building one changes libraries' global state, and a conversion that dies (of
memory, say) is told in words.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from devstack.models import smollm2, trained
from devstack.models.cache import Make, made_once

FOLDERS: Mapping[str, str] = {
    # A number that grows when what is made changes, so that old caches aren't taken for new ones.
    "chat": "smollm2-135m-instruct-1",
    "sdxl": "tiny-sdxl-2",
    "wan": "tiny-wan-4",
}
_MAKERS: Mapping[str, Make] = {
    "chat": smollm2.convert,
    "sdxl": trained.copy_sdxl,
    "wan": trained.copy_wan,
}


class PreparationError(Exception):
    """A model couldn't be made; the message is for people."""


def prepare(root: Path, report: Callable[[str], None]) -> dict[str, Path]:
    """Make what is missing below `root`; return each model's folder by name.

    Raises:
        PreparationError: with what the failed step said last.
    """
    folders = {name: root / folder for name, folder in FOLDERS.items()}
    for name, folder in folders.items():
        if not folder.is_dir():
            report(f"making the small {name} model in {folder}, once")
            _make_apart(name, root)
    return folders


def make(name: str, root: Path) -> None:
    """Make one model in this process."""
    made_once(root / FOLDERS[name], _MAKERS[name])


def _make_apart(name: str, root: Path) -> None:
    command = [sys.executable, "-m", "devstack.models", str(root), "--only", name]
    made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- our own module
    if made.returncode != 0:
        last = next(iter(reversed(made.stderr.strip().splitlines())), "it said nothing")
        raise PreparationError(f"the small {name} model could not be made: {last}")
