"""The doctor on real projects: healthy ones, and with each thing broken in turn."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from command_line import CommandLine
from daemon_process import USUAL
from patients import Patient, bad, verdicts
from projects import Project

from devstack.postgres import Postgres
from devstack.stack import Stack
from devstack.tokens import mint

pytestmark = pytest.mark.asyncio(loop_scope="session")


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
    """No file, no job, no run. The storage is that of all tests, and holds what others made."""
    count = (
        "select (select count(*) from storage.objects) as files, "
        "(select count(*) from jobs) as jobs, (select count(*) from job_runs) as runs"
    )
    before = await hosted.project.database.owner.fetchrow(count)

    assert "failed" not in verdicts(await hosted.examined()).values()

    assert await hosted.project.database.owner.fetchrow(count) == before


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
    found = await hosted.examined(wakeups={"canary_within_s": 2})

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


async def test_a_stack_whose_realtime_is_down(stack: Stack, hosted: Patient) -> None:
    """Not listening, with the server's own reason; and jobs are still found by sweeps."""
    await stack.stop_realtime()
    try:
        found = await hosted.examined()
    finally:
        await stack.start_realtime()

    assert "not listening after" in bad(found)["wake-ups: realtime"][1]
    assert verdicts(found)["rights"] == "ok"
