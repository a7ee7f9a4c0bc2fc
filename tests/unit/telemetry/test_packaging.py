"""The unit and the image fit the daemon that they start."""

import json
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from daemon.app import OUTBOX_DRAIN_S
from daemon.sections import ServerSettings, StopSettings
from daemon.telemetry.mqtt import link
from daemon.telemetry.tracing import export

ROOT = Path(__file__).parents[3]
UNIT = ROOT / "systemd" / "ourvidz-worker.service"
DOCKERFILE = (ROOT / "Dockerfile").read_text()

ENGINES_END_S = 5
REQUESTS_END_S = 5


def directives() -> dict[str, list[str]]:
    found = defaultdict(list)
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


def test_unit_waits_longer_than_the_drain() -> None:
    """Each outer time-out exceeds the inner ones, or jobs are killed instead of released."""
    stop = StopSettings()
    inner = stop.grace_s + stop.release_s + OUTBOX_DRAIN_S + ENGINES_END_S + REQUESTS_END_S
    # A broker is told offline and then let go; traces are sent meanwhile.
    inner += max(2 * link.GOODBYE_S, export.GOODBYE_S)

    assert float(directives()["TimeoutStopSec"][0]) > inner


def test_unit_leaves_engines_to_the_daemon() -> None:
    """A drain needs its engines, and one engine's end isn't the worker's."""
    unit = directives()

    assert unit["KillMode"] == ["mixed"]
    assert unit["OOMPolicy"] == ["continue"]


def test_unit_waits_for_readiness_without_limit() -> None:
    """READY=1 comes after the database's first answer, which may take a night."""
    unit = directives()

    assert unit["Type"] == ["notify"]
    assert unit["NotifyAccess"] == ["main"]
    assert unit["TimeoutStartSec"] == ["infinity"]
    assert unit["Restart"] == ["always"]


def test_unit_lets_the_gpu_in() -> None:
    """The exceptions to hardening that CUDA needs."""
    unit = directives()

    assert not {"PrivateDevices", "MemoryDenyWriteExecute", "ProcSubset"} & unit.keys()
    assert unit["DeviceAllow"] == ["char-nvidia* rwm"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd isn't installed")
def test_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    """Systemd knows every directive, and finds the unit well shut."""
    # The program isn't installed where tests run.
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"(?m)^ExecStart=.*$", "ExecStart=/bin/true", UNIT.read_text()))

    verified = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert verified.returncode == 0, verified.stderr
    assert "Unknown" not in verified.stderr
    assert judged.returncode == 0, judged.stdout


def test_image_starts_the_daemon_itself() -> None:
    """In exec form and without root: PID 1 gets SIGTERM, or jobs are killed at each stop."""
    command = re.findall(r"(?m)^CMD (.*)$", DOCKERFILE)
    user = re.findall(r"(?m)^USER (.*)$", DOCKERFILE)

    assert [json.loads(part) for part in command] == [["python", "-m", "daemon"]]
    assert user == ["10001:10001"]


def test_image_is_probed_where_the_server_listens() -> None:
    """The health check asks the path that needs no key, on the default port."""
    check = re.findall(r"(?m)^  CMD (\[.*\])$", DOCKERFILE)
    port = ServerSettings().port

    (code,) = [json.loads(part)[-1] for part in check]
    compile(code, "HEALTHCHECK", "exec")
    assert f"{port})}}/health" in code
    assert re.findall(r"(?m)^EXPOSE (\d+)$", DOCKERFILE) == [str(port)]


def test_image_has_what_it_copies() -> None:
    """A renamed folder breaks the image, which nobody builds in the tests."""
    sources = [
        source
        for line in re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", DOCKERFILE)
        for source in line.split()
    ]

    assert [source for source in sources if not (ROOT / source).exists()] == []
