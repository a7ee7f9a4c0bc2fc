"""The official JavaScript client on Node, where there is one."""

import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import parts

FOLDER = Path(__file__).parents[1] / "contract" / "js"
INSTALL_SECONDS = 240
OLDEST_NODE = 20


def missing(what: str) -> NoReturn:
    """Skip, but not where everything is meant to run."""
    parts.missing(f"the JavaScript client isn't tested: {what}")


def node_with_client() -> str:
    """Return the path of a node that can run the client, whose packages are installed."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if not found or not npm:
        missing("node and npm aren't installed")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    if int(version.stdout.lstrip("v").split(".")[0]) < OLDEST_NODE:
        missing(f"node {version.stdout.strip()} is older than {OLDEST_NODE}")
    lock, marker = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".package-lock.json"
    if not marker.exists() or marker.stat().st_mtime < lock.stat().st_mtime:
        try:
            subprocess.run(
                [npm, "ci"], cwd=FOLDER, capture_output=True, check=True, timeout=INSTALL_SECONDS
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            missing("npm ci failed")
    return found
