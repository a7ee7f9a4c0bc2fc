"""A folder that is made once: complete or absent, also when two programs make it at once."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

Make = Callable[[Path], None]


def cache_folder() -> Path:
    """Return where models are kept unless the caller says otherwise."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "ourvidz-worker" / "models"


def made_once(target: Path, make: Make) -> bool:
    """Make the folder `target` by `make` unless it exists; return whether it was made now.

    It is made beside its place and renamed, so that nobody sees half of it. Of two that make it
    at once, the first one's stays.
    """
    if target.is_dir():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        make(making)
        # Weights are written for their owner alone, whatever the umask says.
        for path in (making, *making.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        try:
            making.rename(target)
        except OSError:
            if not target.is_dir():
                raise
            return False
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return True
