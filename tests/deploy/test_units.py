"""The units fit the daemon that they start, and systemd itself takes them."""

import re
import shutil
import subprocess
from pathlib import Path

import parts
import pytest
from deploy_files import TEMPLATE, UNIT, directives

from daemon import exit_codes
from daemon.settings import _KNOWN_NAMES

UNITS = pytest.mark.parametrize("unit", [UNIT, TEMPLATE], ids=["one", "template"])

OF_THE_TEMPLATE = {
    "Description", "Environment", "EnvironmentFile", "StateDirectory", "WorkingDirectory",
}  # fmt: skip


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze; where it is missing the test is left out, but not in CI."""
    program = shutil.which("systemd-analyze")
    if program is None:
        parts.missing("systemd isn't installed")
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def installed(unit: Path, folder: Path) -> Path:
    """Return the unit as it would be installed; its program isn't there where tests run."""
    copy = folder / unit.name.replace("@", "@0")
    copy.write_text(re.sub(r"(?m)^ExecStart=.*$", "ExecStart=/bin/true", unit.read_text()))
    return copy


@UNITS
def test_systemd_knows_every_directive(unit: Path, tmp_path: Path) -> None:
    """Without a word: what it doesn't know it would ignore."""
    verified = analyze("verify", str(installed(unit, tmp_path)))

    assert (verified.returncode, verified.stderr) == (0, "")


def test_a_mistake_in_a_unit_would_be_seen(tmp_path: Path) -> None:
    """What the test above stands on."""
    unit = installed(UNIT, tmp_path)
    unit.write_text(unit.read_text().replace("WatchdogSec=30", "WatchdogSec=often"))
    assert "often" in analyze("verify", str(unit)).stderr


@UNITS
def test_units_are_well_shut(unit: Path, tmp_path: Path) -> None:
    """Exposure of at most 3.5 of 10, as systemd counts it."""
    copy = installed(unit, tmp_path)
    judged = analyze("security", "--offline=true", "--threshold=35", str(copy))

    assert judged.returncode == 0, judged.stdout


@UNITS
def test_the_gpu_is_let_in(unit: Path) -> None:
    """The exceptions to hardening that CUDA needs."""
    found = directives(unit)

    assert not {"PrivateDevices", "MemoryDenyWriteExecute", "ProcSubset"} & found.keys()
    assert found["DeviceAllow"] == ["char-nvidia* rwm"]


@UNITS
def test_engines_are_left_to_the_daemon(unit: Path) -> None:
    """A drain needs its engines, and one engine's end isn't the worker's."""
    found = directives(unit)

    assert found["KillMode"] == ["mixed"]
    assert found["OOMPolicy"] == ["continue"]


@UNITS
def test_readiness_is_waited_for_without_limit(unit: Path) -> None:
    """READY=1 comes after the database's first answer, which may take a night."""
    found = directives(unit)

    assert found["Type"] == ["notify"]
    assert found["NotifyAccess"] == ["main"]
    assert found["TimeoutStartSec"] == ["infinity"]


@UNITS
def test_only_what_may_mend_itself_is_started_again(unit: Path) -> None:
    """Not a mistake of the operator's; a defect and a missing driver, but not for ever."""
    found = directives(unit)
    final = {int(status) for status in found["RestartPreventExitStatus"][0].split()}

    assert found["Restart"] == ["always"]
    assert final == {exit_codes.MISTAKE, exit_codes.USAGE}
    assert not {exit_codes.DEFECT, exit_codes.TRY_AGAIN} & final
    # The limit can be reached: so many restarts fit into its time.
    tries, within_s = int(found["StartLimitBurst"][0]), float(found["StartLimitIntervalSec"][0])
    assert tries * (float(found["RestartSec"][0]) + 3) < within_s


@UNITS
def test_every_secret_may_come_as_a_credential(unit: Path) -> None:
    """Each from a file of its variable's name, or else as an empty one."""
    found = directives(unit)
    loaded = {value.partition(":")[0] for value in found["LoadCredential"]}

    # The one isn't secret, the other another name for SUPABASE_SERVICE_ROLE_KEY.
    left_out = {"SUPABASE_ANON_KEY", "SUPABASE_SERVICE_KEY"}
    assert loaded == {name.lower() for name in _KNOWN_NAMES.keys() - left_out}
    assert [value.partition(":")[0] for value in found["SetCredential"]] == [
        value.partition(":")[0] for value in found["LoadCredential"]
    ]
    for value in found["LoadCredential"]:
        name, _, path = value.partition(":")
        assert path == f"/etc/ourvidz-worker/credentials/{name}"


def test_the_template_is_the_unit_but_for_its_instance() -> None:
    """What is mended in one is mended in the other."""
    one, template = directives(UNIT), directives(TEMPLATE)

    differing = {
        name for name in one.keys() | template.keys() if one.get(name) != template.get(name)
    }
    assert differing == OF_THE_TEMPLATE
    for name in ("StateDirectory", "WorkingDirectory"):
        assert template[name] == [f"{one[name][0]}/gpu-%i"]
    environment = dict(each.split("=", 1) for each in template["Environment"])
    assert environment["CUDA_VISIBLE_DEVICES"] == "%i"
    assert environment["OURVIDZ_WORKER_NAME"] == "%H-gpu%i"
    ports = {int(environment["OURVIDZ_SERVER__PORT"].replace("%i", str(gpu))) for gpu in range(10)}
    assert len(ports) == 10
    assert max(ports) < 65536


@UNITS
def test_a_running_worker_keeps_its_version(unit: Path, tmp_path: Path) -> None:
    """The link to the version is followed when the worker starts, in the same process."""
    for version in ("1", "2"):
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        (folder / "python").write_text('#!/bin/sh\necho "$$ $0 $*"\n')
        (folder / "python").chmod(0o755)
    link = tmp_path / "venv"
    [line] = directives(unit)["ExecStart"]
    match = re.fullmatch(r"/bin/sh -c '(.*)'", line)
    assert match is not None
    command = match[1].replace("$$", "$").replace("/opt/ourvidz-worker/venv", str(link))
    for version in ("1", "2"):
        link.unlink(missing_ok=True)
        link.symlink_to(version)
        with subprocess.Popen(["/bin/sh", "-c", command], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            told = process.stdout.read().decode().split()
        assert told == [str(process.pid), f"{tmp_path}/{version}/bin/python", "-m", "daemon"]
    assert link.readlink() == Path("2")
