"""Tests that need what a machine may lack: skipped there, but in CI they fail."""

import os
from importlib.util import find_spec

import pytest


def needed(module: str, how: str) -> None:
    """Leave out the calling module unless a library is there; `how` says what installs it."""
    if find_spec(module) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{module} isn't installed: {how}")
        pytest.skip(f"{module} isn't installed: {how}", allow_module_level=True)
