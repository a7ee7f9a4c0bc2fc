"""`python -m devstack`: starts, says where it is, keeps its keys, and stops without a trace."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack.postgres import free_port
from devstack.tokens import verify


def command(folder: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "devstack", "--data", str(folder), "--db-port", "0", *options]


@contextmanager
def running(folder: Path, stop: int = signal.SIGTERM) -> Iterator[dict[str, str]]:
    """A stack in a process of its own, and what it printed when it was ready."""
    with subprocess.Popen(
        command(folder, "--port", "0", "--json"), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.send_signal(stop)
        assert process.wait(60) == 0
        assert process.stdout.read() == ""


def test_it_says_where_it_is_and_keeps_keys_and_data(tmp_path: Path) -> None:
    """One line of JSON tells all; the next run has the same keys and rows, on new ports."""
    with running(tmp_path) as first:
        headers = {"apikey": first["service_role_key"]}
        bucket = {"id": "kept"}
        httpx.post(f"{first['url']}/storage/v1/bucket", headers=headers, json=bucket)
    with running(tmp_path, signal.SIGINT) as second:
        kept = httpx.get(f"{second['url']}/storage/v1/bucket/kept", headers=headers)

    assert set(first) == {
        "url",
        "dsn",
        "anon_key",
        "service_role_key",
        "worker_token",
        "jwt_secret",
    }
    assert verify(first["jwt_secret"], first["worker_token"])["role"] == "ourvidz_worker"
    assert first["service_role_key"] == second["service_role_key"]
    assert kept.json()["name"] == "kept"


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    """Nobody else on the machine can read keys or password."""
    with running(tmp_path):
        files = [tmp_path / "keys.json", tmp_path / "postgres" / "password"]
        modes = [stat.S_IMODE(file.stat().st_mode) for file in files]

    assert modes == [0o600, 0o600]


@pytest.mark.parametrize("option", ["--port", "--db-port"])
def test_a_taken_port_is_a_sentence(tmp_path: Path, option: str) -> None:
    """A port in use ends the program with status 1 and its number, without a traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        options = ["--port", str(free_port()), option, port]
        done = subprocess.run(
            command(tmp_path, *options), capture_output=True, text=True, check=False, timeout=60
        )

    assert done.returncode == 1
    assert done.stderr == (
        f"Error: port {port} on 127.0.0.1 is already in use; choose another one\n"
    )


def test_a_data_directory_serves_one_stack_at_a_time(tmp_path: Path) -> None:
    """A second stack on the same data says so instead of harming it."""
    with running(tmp_path):
        done = subprocess.run(
            command(tmp_path, "--port", "0"),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert done.returncode == 1
    assert "another stack is running" in done.stderr


def test_a_person_sees_url_and_keys(tmp_path: Path) -> None:
    """Without --json the facts are lines to read."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    arguments: list[Any] = [sys.executable, "-m", "devstack", "--port", "0", "--db-port", "0"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(8)]
        process.send_signal(signal.SIGINT)

    assert lines[0].startswith("The local stack is ready")
    assert [line.split("  ")[0] for line in lines[2:5]] == ["url", "dsn", "anon key"]
    assert (tmp_path / "ourvidz-worker" / "stack" / "keys.json").exists()
