"""Prometheus' own tool, for what only it can judge."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from monitoring_files import ROOT, Promtool


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    """Runs promtool and returns what it says; fails where it finds a fault."""
    missing = pytest.fail if os.environ.get("CI") else pytest.skip
    path = shutil.which("promtool")
    if path is None:
        missing("promtool is missing: install prometheus")

    def run(*arguments: str | Path, text: bytes = b"") -> str:
        done = subprocess.run(
            [str(path), *map(str, arguments)],
            input=text,
            capture_output=True,
            timeout=100,
            cwd=ROOT,
            check=False,
        )
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == 0, said
        return said

    return run
