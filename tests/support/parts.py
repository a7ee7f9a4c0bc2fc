"""Real parts that a test needs: where one is missing the test is skipped, but not in CI."""

import os
from importlib.util import find_spec
from shutil import which
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip, but fail where everything is meant to run."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def needs_package(name: str) -> None:
    """Say that the test is nothing without a package."""
    if find_spec(name) is None:
        missing(f"the package {name} isn't installed")


def needs_program(name: str) -> None:
    """Say that the test is nothing without a program."""
    if which(name) is None:
        missing(f"the program {name} isn't installed")
