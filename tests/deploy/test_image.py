"""The image's recipe: linted, its steps run where they can, and its start as PID 1."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import parts
import pytest
from deploy_files import DOCKERFILE, ROOT, instructions

from daemon.sections import ServerSettings


def test_hadolint_finds_nothing() -> None:
    """Nor that a rule was left out without a reason beside it."""
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        parts.missing("hadolint isn't installed")
    linted = subprocess.run(
        [program, "--no-color", str(DOCKERFILE)], capture_output=True, text=True, check=False
    )
    assert (linted.returncode, linted.stdout) == (0, "")


def test_the_worker_is_started_without_a_shell_or_root() -> None:
    """In exec form behind a small init: SIGTERM arrives, and orphans are reaped."""
    [entry] = [rest for name, rest in instructions() if name == "ENTRYPOINT"]
    users = [rest for name, rest in instructions() if name == "USER"]

    assert json.loads(entry) == ["/usr/bin/tini", "--", "python", "-m", "daemon"]
    assert users == ["10001:10001"]
    assert not [name for name, _ in instructions() if name == "CMD"]


def test_the_bases_are_pinned() -> None:
    """By version, and nothing is taken as the latest."""
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    arguments = dict(
        rest.split("=", 1) for name, rest in instructions() if name == "ARG" if "=" in rest
    )
    resolved = [arguments["BASE"] if base == "${BASE}" else base for base in bases]
    assert all(re.search(r":\d+\.\d+", base) for base in resolved), resolved
    assert re.fullmatch(r"nvidia/cuda:\d+\.\d+\.\d+-base-ubuntu24\.04", arguments["BASE"])


def test_the_probe_asks_where_the_server_listens() -> None:
    """The path that needs no key, on the default port."""
    [check] = [rest for name, rest in instructions() if name == "HEALTHCHECK"]
    code = json.loads(check[check.index("CMD ") + 4 :])[-1]

    compile(code, "HEALTHCHECK", "exec")
    port = ServerSettings().port
    assert f"{port})}}/health" in code
    assert ("EXPOSE", str(port)) in instructions()


def copied() -> list[str]:
    """Return what the build copies from here."""
    return [
        source
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]


def test_what_is_copied_is_there_and_not_ignored() -> None:
    """No more goes to the builder, and nothing that is missing."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}

    assert "*" in ignored
    assert let_in == set(copied())
    assert [source for source in copied() if not (ROOT / source).exists()] == []


_OF_PIP = re.compile(
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|TRUSTED_HOST|CERT|DEFAULT_TIMEOUT|RETRIES|CACHE_DIR)"
    r"|SSL_CERT_FILE|(?i:https?_proxy|no_proxy)"
)
_UNREACHABLE = re.compile(r"NewConnectionError|NameResolutionError|ConnectTimeoutError")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build stage's steps in order, in a folder instead of a container, without models."""
    root = tmp_path_factory.mktemp("image")
    source = root / "src"
    source.mkdir()
    environment = {
        "HOME": str(root),
        "PATH": f"{root}/venv/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "EXTRA": "none",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_CACHE_DIR": str(Path("~/.cache/pip").expanduser()),
        # Where this machine takes its packages from.
        **{name: os.environ[name] for name in os.environ if _OF_PIP.fullmatch(name)},
    }
    for name, rest in instructions()[: _build_stage_ends()]:
        if name == "COPY":
            *sources, target = rest.split()
            for each in sources:
                _copy(ROOT / each, source / (each if target == "./" else target))
        elif name == "RUN" and "apt-get" not in rest:
            command = re.sub(r"--mount=\S+", "", rest).replace("/opt/venv", f"{root}/venv")
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=source,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=600,
            )
            if _UNREACHABLE.search(done.stdout + done.stderr):
                parts.missing("the package index can't be reached")
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return root / "venv"


def _build_stage_ends() -> int:
    return [index for index, (name, _) in enumerate(instructions()) if name == "FROM"][1]


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


@pytest.mark.timeout(900)
def test_the_steps_make_a_worker(built: Path) -> None:
    """It says its version, and has its migrations with it."""
    program = [str(built / "bin" / "python"), "-P", "-m", "daemon"]
    told = subprocess.run(
        [*program, "--version"], capture_output=True, text=True, check=False, cwd="/", env={}
    )
    assert told.stdout.strip().endswith(version("ourvidz-worker")), told.stderr
    count = (
        "from daemon.migrate import migrations; import daemon;"
        "print(len(migrations()), daemon.__file__)"
    )
    found = subprocess.run(
        [program[0], "-P", "-c", count], capture_output=True, text=True, check=True, cwd="/", env={}
    )
    number, path = found.stdout.split()
    assert int(number) == len(list((ROOT / "migrations").glob("*.sql")))
    assert path.startswith(str(built))


@pytest.mark.timeout(900)
def test_the_steps_take_what_is_declared(built: Path) -> None:
    """Every dependency, in the tested version; no model library where none is wanted."""
    listed = subprocess.run(
        [str(built / "bin" / "python"), "-m", "pip", "list", "--format=json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    installed = {
        each["name"].lower().replace("_", "-"): each["version"]
        for each in json.loads(listed.stdout)
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[<>=]", each)[0] for each in project["dependencies"]}

    assert wanted <= installed.keys()
    assert not {"torch", "vllm", "diffusers"} & installed.keys()
    lock = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line
    )
    assert {name: installed[name] for name in wanted} == {name: lock[name] for name in wanted}
