"""The doctor on real projects: healthy ones, and with each thing broken in turn."""

import json
import socket
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from command_line import CommandLine
from daemon_process import USUAL
from projects import Project

from daemon.commands.running import Given
from daemon.doctor.examination import Instruments, examination
from daemon.doctor.findings import Finding
from daemon.settings import merged
from daemon.telemetry.gpu import GpuSample
from devstack.postgres import Postgres
from devstack.stack import Stack
from devstack.tokens import mint

pytestmark = pytest.mark.asyncio(loop_scope="session")

GIB = 2**30
NAMES = {"DATABASE_URL", "WORKER_API_KEY", "XDG_CACHE_HOME"}

USED = {
    "url": ("supabase", "url"),
    "key": ("supabase", "key"),
    "token": ("supabase", "token"),
    "dsn": ("database", "dsn"),
}


class Patient:
    """A project's settings, one of which is broken for a test."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project = project
        environment = project.environment
        fake = {"runner": "fake", "path": ""}
        self.settings: dict[str, Any] = {
            "database": {"dsn": environment.get("DATABASE_URL")},
            "supabase": {
                "url": environment.get("SUPABASE_URL"),
                "key": environment.get("SUPABASE_KEY"),
                "token": environment.get("SUPABASE_WORKER_TOKEN"),
            },
            "models": {name: dict(fake) for name in ("chat", "sdxl", "wan", "video")},
            "device": {"simulate_gb": 48},
            "server": {"port": 0},
            "state_dir": str(folder / "state"),
        }
        if project.files is not None:
            self.settings["artifacts"] = {"kind": "local", "folder": str(project.files)}

    async def examined(
        self, *, instruments: Instruments | None = None, **change: Any
    ) -> list[Finding]:
        """Change the settings, look, and see that no secret is told."""
        given = Given(None, merged(self.settings, change))
        found = await examination(given, instruments)
        for secret in [*self.project.secrets, "hush"]:
            assert secret not in repr(found)
        return found


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*USUAL, "SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL", "WORKER_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest_asyncio.fixture(loop_scope="session")
async def hosted(supabase: Project, tmp_path: Path) -> AsyncIterator[Patient]:
    """A Supabase project, and its faults healed afterwards."""
    yield Patient(supabase, tmp_path)
    assert supabase.stack is not None
    supabase.stack.realtime.faults.deaf_to_changes = False


@pytest.fixture
def bare(direct: Project, tmp_path: Path) -> Patient:
    """Bare PostgreSQL and a folder."""
    return Patient(direct, tmp_path)


def bad(found: list[Finding]) -> dict[str, tuple[str, str]]:
    """Return what isn't well, by check."""
    wrong = ("failed", "warning")
    return {
        f.check: (str(f.verdict), f"{f.seen} -> {f.advice}") for f in found if f.verdict in wrong
    }


def verdicts(found: list[Finding]) -> Mapping[str, str]:
    return {finding.check: str(finding.verdict) for finding in found}


async def test_a_healthy_project_has_nothing_to_mend(project: Project, tmp_path: Path) -> None:
    """Each kind of project; a real canary through each source, a real file in each bucket."""
    found = await Patient(project, tmp_path).examined()

    checks = verdicts(found)
    assert bad(found) == {}
    assert {checks[f"storage: {kind}"] for kind in ("image", "video", "thumbnail")} == {"ok"}
    sources = {name for name in checks if name.startswith("wake-ups: ")}
    expected = {"listen"} if project.name == "direct" else {"broadcast", "realtime"}
    assert sources == {f"wake-ups: {name}" for name in expected}
    assert {checks[name] for name in ("database", "schema", "rights", "clock")} == {"ok"}


async def test_nothing_is_left_behind(hosted: Patient) -> None:
    """No file, no job, no run."""
    assert "failed" not in verdicts(await hosted.examined()).values()

    left = await hosted.project.database.owner.fetchrow(
        "select (select count(*) from storage.objects where name like 'anonymous/%') as files, "
        "(select count(*) from jobs) as jobs, (select count(*) from job_runs) as runs"
    )
    assert tuple(left or ()) == (0, 0, 0)


async def test_the_command_tells_it_to_people_and_programs(
    project: Project, tmp_path: Path
) -> None:
    """Exit status 0 when nothing failed, and 1 when something did."""
    ourvidz = CommandLine(tmp_path / "operator", project.environment, project.secrets)

    people = await ourvidz("--port", "0", "doctor")
    programs = await ourvidz("--port", "0", "doctor", "--json", OURVIDZ_STATE_DIR="/dev/null/x")

    assert (people.status, people.stderr) == (0, "")
    assert "\nok  " in people.stdout
    assert programs.status == 1
    report = json.loads(programs.stdout)
    assert report["ok"] is False
    assert [c["check"] for c in report["checks"] if c["verdict"] == "failed"] == ["state folder"]


@pytest.mark.parametrize(
    ("change", "check", "sentence"),
    [
        ({"key": "sb_publishable_wrong"}, "project", "refuses the key: Invalid API key"),
        ({"url": "http://127.0.0.1:1"}, "project", "can't be reached"),
        ({"token": None}, "key", "role is anon, which may not run a worker"),
        ({"token": "ey.not.one"}, "project", "refuses the token ("),
    ],
)
async def test_a_wrong_key_or_address(
    hosted: Patient, change: dict[str, Any], check: str, sentence: str
) -> None:
    """The project's own words, and what to set; the rest is still looked at."""
    found = await hosted.examined(supabase=change)

    verdict, said = bad(found)[check]
    assert verdict == "failed"
    assert sentence in said
    assert {f.verdict for f in found if f.check in {"state folder", "budgets"}} == {"ok"}


async def test_a_token_near_and_past_its_end(hosted: Patient) -> None:
    """One is a warning, the other a failure; both say how to make a new one."""
    stack = hosted.project.stack
    assert stack is not None
    near = await hosted.examined(
        supabase={"token": mint(stack.jwt_secret, "ourvidz_worker", expires_in=86400)}
    )
    over = await hosted.examined(
        supabase={"token": mint(stack.jwt_secret, "ourvidz_worker", expires_in=-60)}
    )

    assert bad(near)["token"][0] == "warning"
    assert "expires in 24 hours -> make one with `ourvidz-worker token`" in bad(near)["token"][1]
    assert bad(over)["token"][0] == "failed"
    assert "refuses the token (JWT expired)" in bad(over)["project"][1]


async def test_more_rights_than_needed_are_a_warning(hosted: Patient) -> None:
    """A service role key works."""
    stack = hosted.project.stack
    assert stack is not None
    found = await hosted.examined(supabase={"key": stack.service_role_key, "token": None})

    assert list(bad(found)) == ["key"]
    assert bad(found)["key"][0] == "warning"


async def test_a_database_that_is_down(bare: Patient) -> None:
    """What rests on it is skipped, the rest is not."""
    found = await bare.examined(database={"dsn": "postgres://worker:hush@127.0.0.1:1/postgres"})

    assert set(bad(found)) == {"database"}
    assert "the database can't be reached" in bad(found)["database"][1]
    skipped = {name for name, verdict in verdicts(found).items() if verdict == "skipped"}
    assert {"schema", "rights", "wake-ups"} <= skipped


async def test_a_database_without_the_schema(bare: Patient, tmp_path: Path) -> None:
    """Reached, and told what to run."""
    async with Postgres(tmp_path / "empty", supabase=False) as server:
        found = await bare.examined(database={"dsn": server.dsn})

    assert verdicts(found)["database"] == "ok"
    assert "no ourvidz-worker schema: run `ourvidz-worker migrate`" in bad(found)["schema"][1]


async def test_a_login_without_the_rights(bare: Patient) -> None:
    """Each call that is refused is named."""
    owner = bare.project.database.owner
    await owner.execute("create role stranger login password 'hush'")
    await owner.execute(
        "grant execute on function ourvidz_schema_version() to stranger; "
        "grant execute on function queue_summary() to stranger"
    )
    parts = urlsplit(bare.project.database.dsn)
    dsn = parts._replace(netloc=f"stranger:hush@{parts.hostname}:{parts.port}").geturl()
    try:
        found = await bare.examined(database={"dsn": dsn})
    finally:
        await owner.execute("drop owned by stranger; drop role stranger")

    verdict, said = bad(found)["rights"]
    assert verdict == "failed"
    assert "claim: permission denied" in said
    assert "queue:" not in said
    assert "role ourvidz_worker" in said


async def test_a_transaction_pooler_hears_nothing(bare: Patient) -> None:
    """It is refused by its address."""
    found = await bare.examined(database={"dsn": "postgres://w:hush@127.0.0.1:6543/x"})
    assert "transaction pooler" in bad(found)["wake-ups"][1]


async def test_a_deaf_realtime(hosted: Patient) -> None:
    """It is joined and confirmed, and hears no canary; the other source does."""
    stack = hosted.project.stack
    assert stack is not None
    stack.realtime.faults.deaf_to_changes = True
    found = await hosted.examined(wakeups={"canary_within_s": 1})

    assert set(bad(found)) == {"wake-ups: realtime"}
    assert "listens, but heard none of 3 canaries" in bad(found)["wake-ups: realtime"][1]
    assert "publication supabase_realtime" in bad(found)["wake-ups: realtime"][1]
    assert verdicts(found)["wake-ups: broadcast"] == "ok"


async def test_a_missing_bucket(hosted: Patient) -> None:
    """It is named, and the others are written to."""
    found = await hosted.examined(artifacts={"videos": "films"})

    assert set(bad(found)) == {"storage: video"}
    assert 'bucket "films" does not exist' in bad(found)["storage: video"][1]


async def test_a_folder_that_cannot_be_written(bare: Patient) -> None:
    """For files as for the worker's state."""
    found = await bare.examined(
        artifacts={"kind": "local", "folder": "/dev/null/files"}, state_dir="/dev/null/state"
    )
    assert {"storage: image", "state folder"} <= set(bad(found))


async def test_a_clock_that_is_off(project: Project, tmp_path: Path) -> None:
    """Against the database's, or over REST against the Date header."""
    patient = Patient(project, tmp_path)
    slow = await patient.examined(instruments=Instruments(clock=lambda: time.time() - 10))
    wrong = await patient.examined(instruments=Instruments(clock=lambda: time.time() + 3600))

    assert bad(slow)["clock"][0] == "warning"
    assert "s behind the" in bad(slow)["clock"][1]
    assert bad(wrong)["clock"][0] == "failed"
    assert "s ahead of the" in bad(wrong)["clock"][1]


async def test_gpus_and_what_fits_them(bare: Patient) -> None:
    """The driver's own words where there is none; the numbers where a budget doesn't fit."""

    def none() -> tuple[GpuSample, ...]:
        raise OSError("NVML Shared Library Not Found")

    def small() -> tuple[GpuSample, ...]:
        return (GpuSample(0, "Tiny", None, GIB, 16 * GIB, 95.0),)

    real: dict[str, Any] = {"device": {"simulate_gb": None}}
    without = await bare.examined(instruments=Instruments(gpus=none), **real)
    found = await bare.examined(instruments=Instruments(gpus=small), **real)

    assert "no GPU: NVML Shared Library Not Found" in bad(without)["gpu"][1]
    assert bad(found)["gpu 0"][0] == "warning"
    assert "Tiny, 16.0 GB, of which 1.0 GB in use, 95 °C" in bad(found)["gpu 0"][1]
    assert "model video: its budget of 20 GB" in bad(found)["budgets"][1]


async def test_a_port_that_is_taken(bare: Patient) -> None:
    """By whom is not known, but that it is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.settimeout(0.1)
        found = await bare.examined(server={"port": taken.getsockname()[1]})
    assert "Address already in use" in bad(found)["port"][1]


async def test_wrong_settings_are_all_told(bare: Patient) -> None:
    """Then nothing else can be looked at."""
    found = await bare.examined(server={"port": -1}, leases={"duration_s": "x"})

    assert [f.check for f in found] == ["configuration"] * 2
    assert all(f.verdict == "failed" for f in found)


async def test_a_stack_whose_realtime_is_down(stack: Stack, hosted: Patient) -> None:
    """Not listening, with the server's own reason; and jobs are still found by sweeps."""
    await stack.stop_realtime()
    try:
        found = await hosted.examined()
    finally:
        await stack.start_realtime()

    assert "not listening after" in bad(found)["wake-ups: realtime"][1]
    assert verdicts(found)["rights"] == "ok"
