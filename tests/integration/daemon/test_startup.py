"""What keeps a daemon from starting is said in a line that an operator can act on."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import Project, direct_project

from daemon.exit_codes import MISTAKE, TRY_AGAIN
from daemon.migrate import migrate
from devstack.postgres import Postgres, free_port
from devstack.tokens import mint

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]


async def assert_refuses(worker: Daemon, *sentences: str, status: int = MISTAKE) -> None:
    """It ends with that status, and all that it says are these sentences, without a traceback."""
    worker.environment["OURVIDZ_LOG__LEVEL"] = "warning"
    await worker.start()
    assert await worker.ended() == status
    lines = worker.log.strip().splitlines()
    assert lines[0].startswith("ourvidz-worker: ")
    assert len(lines) == max(1, len(sentences)), worker.log
    for line, sentence in zip(lines, sentences, strict=True):
        assert sentence in line, worker.log
    worker.assert_clean()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        pytest.param(
            {"DATABASE_URL": ""},
            "no database: set DATABASE_URL, or SUPABASE_URL and SUPABASE_KEY",
            id="no-database",
        ),
        pytest.param(
            {"DATABASE_URL": "postgres://worker:hush@127.0.0.1:6543/postgres"},
            "transaction",
            id="transaction-pooler",
        ),
        pytest.param(
            {"DATABASE_URL": "postgres://worker:hush@host:port/name"},
            "connection string",
            id="unreadable-dsn",
        ),
        pytest.param(
            {"OURVIDZ_MODELS__SDXL__RUNNER": "diffusers", "OURVIDZ_MODELS__SDXL__PATH": "/no/sdxl"},
            "model sdxl: /no/sdxl does not exist: put the weights there, set "
            "OURVIDZ_MODELS__SDXL__PATH, or serve other models with --worker-type",
            id="missing-model",
        ),
        pytest.param(
            {"OURVIDZ_DEVICE__SIMULATE_GB": "10"}, "model sdxl", id="a-device-that-is-too-small"
        ),
        pytest.param(
            {"OURVIDZ_MODELS__WAN__FOOTPRINT_GB__HIGH": "7"},
            "wan",
            id="a-quality-above-its-budget",
        ),
        pytest.param(
            {"OURVIDZ_ARTIFACTS__KIND": "supabase"},
            "artifacts go to Supabase Storage, but SUPABASE_URL is not set",
            id="no-storage",
        ),
        pytest.param(
            {"OURVIDZ_ARTIFACTS__FOLDER": "/dev/null/files"}, "/dev/null/files", id="no-folder"
        ),
        pytest.param({"OURVIDZ_STATE_DIR": "/dev/null/state"}, "OURVIDZ_STATE_DIR", id="no-state"),
        pytest.param({"OURVIDZ_SERVER__HOST": "0.0.0.0"}, "WORKER_API_KEY", id="open-to-everybody"),
    ],
)
async def test_a_setting_that_cannot_work(
    direct: Project, daemon: StartDaemon, settings: dict[str, str], sentence: str
) -> None:
    """Each is named, with what to do about it."""
    worker = daemon(direct, **settings)
    worker.environment["OURVIDZ_LOG__LEVEL"] = "warning"
    await worker.start()
    assert await worker.ended() == MISTAKE
    assert "ourvidz-worker: " in worker.log
    assert sentence in worker.log
    assert "hush" not in worker.log
    worker.assert_clean()


async def test_all_wrong_settings_are_told_at_once(direct: Project, daemon: StartDaemon) -> None:
    """Nobody has to start a daemon four times to learn of four mistakes."""
    wrong = {
        "OURVIDZ_SERVER__PORTS": "7861",
        "OURVIDZ_LEASES__DURATION_S": "short",
        "OURVIDZ_STOP__GRACE_S": "-1",
        "OURVIDZ_WORKER_TYPE": "audio",
    }
    await assert_refuses(
        daemon(direct, **wrong),
        "settings are wrong",
        "worker_type: Input should be",
        "leases.duration_s: Input should be a valid number",
        "server.ports: there is no such setting; did you mean server.port? [OURVIDZ_SERVER__PORTS]",
        "stop.grace_s: Input should be greater than or equal to 0",
    )


async def test_a_config_file_that_cannot_be_read(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """The file is named, and where in it the mistake is."""
    config = tmp_path / "worker.toml"
    config.write_text("worker_type = chat")
    await assert_refuses(
        daemon(direct, OURVIDZ_CONFIG=str(config)), "settings are wrong", f"{config}: Invalid value"
    )


async def test_a_port_in_use(direct: Project, daemon: StartDaemon) -> None:
    """The port and the setting are named, and the database isn't touched."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        worker = daemon(direct)
        worker.listen_on(taken.getsockname()[1])
        await assert_refuses(worker, f"port {worker.port} is in use", status=TRY_AGAIN)


REFUSED = "the database refuses this worker (check SUPABASE_KEY and SUPABASE_WORKER_TOKEN"


async def test_a_wrong_key(supabase: Project, daemon: StartDaemon) -> None:
    """The gateway takes the project's own keys only, and the worker's token isn't one."""
    assert supabase.stack is not None
    keys = [
        supabase.stack.worker_token,
        "not-a-key-at-all",
        "sb_secret_0123456789abcdef0123456789abcdef",
    ]
    for key in keys:
        worker = daemon(supabase, SUPABASE_KEY=key)
        await assert_refuses(worker, REFUSED)
        assert key not in worker.log


async def test_a_wrong_token(supabase: Project, daemon: StartDaemon) -> None:
    """A token of another project, of a user, without rights, or of last year."""
    assert supabase.stack is not None
    tokens = {
        mint("another project's secret, long enough", "ourvidz_worker"): "Invalid token",
        supabase.stack.token("00000000-0000-4000-8000-00000000000a"): "permission denied",
        supabase.stack.anon_key: "permission denied",
        mint(
            supabase.stack.jwt_secret, "ourvidz_worker", expires_in=-3600
        ): "the worker's token has expired",
    }
    for token, reason in tokens.items():
        worker = daemon(supabase, SUPABASE_WORKER_TOKEN=token)
        await assert_refuses(worker, REFUSED)
        assert reason in worker.log
        assert token not in worker.log


async def test_a_token_that_runs_out(supabase: Project, daemon: StartDaemon) -> None:
    """It is said while there is time, and when it is over the worker goes on saying it."""
    assert supabase.stack is not None
    token = mint(supabase.stack.jwt_secret, "ourvidz_worker", expires_in=25)
    worker = daemon(supabase, SUPABASE_WORKER_TOKEN=token)
    async with worker:
        assert "the worker's token expires in " in worker.log

        async def told() -> bool:
            _, health = await worker.get("/health")
            return "the worker's token has expired" in str(health)

        await eventually(told, what="/health tells that the token has expired")
        assert token not in worker.log


async def test_a_wrong_password(direct: Project, daemon: StartDaemon) -> None:
    """The server's refusal is told, the password isn't."""
    parts = urlsplit(direct.environment["DATABASE_URL"])
    wrong = parts._replace(netloc=f"{parts.username}:not-the-one@{parts.hostname}:{parts.port}")
    worker = daemon(direct, DATABASE_URL=wrong.geturl())
    await assert_refuses(worker, "password authentication failed")
    assert "not-the-one" not in worker.log


async def test_a_role_without_rights(direct: Project, daemon: StartDaemon) -> None:
    """A login that may not execute the worker's functions is told so at the start."""
    await direct.database.owner.execute("create role stranger login password 'stranger'")
    try:
        parts = urlsplit(direct.environment["DATABASE_URL"])
        login = parts._replace(netloc=f"stranger:stranger@{parts.hostname}:{parts.port}")
        await assert_refuses(
            daemon(direct, DATABASE_URL=login.geturl()),
            "permission denied for function ourvidz_schema_version",
        )
    finally:
        await direct.database.owner.execute("drop role stranger")


@asynccontextmanager
async def changed(project: Project, do: str, undo: str) -> AsyncIterator[None]:
    """Change the schema for the block."""
    await project.database.owner.execute(do)
    try:
        yield
    finally:
        await project.database.owner.execute(undo)


async def test_a_database_that_is_not_migrated(project: Project, daemon: StartDaemon) -> None:
    """The command that migrates is named."""
    rename = "alter function {} rename to {}"
    names = ("ourvidz_schema_version", "hidden_schema_version")
    async with changed(project, rename.format(*names), rename.format(*reversed(names))):
        await assert_refuses(
            daemon(project),
            "the database has no ourvidz-worker schema: run `ourvidz-worker migrate`",
        )


async def test_a_database_of_another_version(project: Project, daemon: StartDaemon) -> None:
    """A newer schema asks for a newer worker, an older one for migration."""
    newer = "insert into ourvidz_migrations values (9999, '9999_later', '')"
    async with changed(project, newer, "delete from ourvidz_migrations where version = 9999"):
        await assert_refuses(daemon(project), "install the newer ourvidz-worker")
    older = "update ourvidz_migrations set version = -version"
    async with changed(project, older, older):
        await assert_refuses(daemon(project), "run `ourvidz-worker migrate`")


async def test_a_schema_that_changes_under_the_worker(
    project: Project, daemon: StartDaemon
) -> None:
    """It ends with a sentence, for its supervisor to start the version that fits."""
    worker = daemon(project, OURVIDZ_LOG__LEVEL="warning")
    await worker.start()
    await worker.until_ready()
    rename = "alter function {} rename to {}"
    names = ("claim_jobs", "claim_jobs_v2")
    async with changed(project, rename.format(*names), rename.format(*reversed(names))):
        await project.insert()
        assert await worker.ended() == TRY_AGAIN
    assert "run `ourvidz-worker migrate`" in worker.log.strip().splitlines()[-1], worker.log
    worker.assert_clean()


async def test_a_bucket_that_does_not_exist(supabase: Project, daemon: StartDaemon) -> None:
    """Before any picture is made for nothing, its missing bucket is named."""
    await assert_refuses(
        daemon(supabase, OURVIDZ_ARTIFACTS__IMAGES="nowhere", OURVIDZ_ARTIFACTS__VIDEOS="neither"),
        'bucket "neither" does not exist',
        'bucket "nowhere" does not exist',
    )


async def test_a_database_that_is_away_is_waited_for(daemon: StartDaemon, tmp_path: Path) -> None:
    """The daemon says that it starts, and works as soon as the database is there."""
    port = free_port()
    async with Postgres(tmp_path / "late", port=port) as late:
        await migrate(late.dsn, report=lambda _: None)
        async with direct_project(late.dsn, late.dsn, tmp_path / "files") as project:
            worker = daemon(project)
    await worker.start()

    async def answers() -> bool:
        return (await worker.get("/health"))[0] == httpx.codes.OK

    await eventually(answers)

    async def waits() -> bool:
        status, ready = await worker.get("/ready")
        return (status, ready["reasons"]) == (503, ["the database has not answered yet"])

    await eventually(waits)
    _, health = await worker.get("/health")
    assert (health["status"], health["active_jobs"]) == ("starting", 0)
    assert (await worker.get("/status"))[0] == httpx.codes.OK

    async with Postgres(tmp_path / "late", port=port):
        await project.reconnect()
        job = await project.insert()
        await worker.until_ready()
        await project.until(job, "completed")
        assert await worker.stop() == 0
        await project.database.owner.close()
    worker.assert_clean()
