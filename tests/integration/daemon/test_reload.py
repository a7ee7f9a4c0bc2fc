"""SIGHUP: what can change in place changes, the rest by a drain; no job is lost or run twice."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import DirectServer, Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

IMPATIENT = {"OURVIDZ_DATABASE__STATEMENT_TIMEOUT_S": "1"}
"""For tests in which the database doesn't answer for a while."""


class Configured:
    """A daemon with a configuration file that can be written anew."""

    def __init__(self, worker: Daemon, path: Path) -> None:
        self.worker = worker
        self.path = path
        worker.environment["OURVIDZ_CONFIG"] = str(path)

    def write(self, text: str) -> None:
        self.path.write_text(text)

    async def reload(self, text: str, until: str) -> None:
        """Have other settings read, and wait until the log says so once more."""
        before = self.worker.log.count(until)
        self.write(text)
        self.worker.signal(signal.SIGHUP)
        await eventually(lambda: self.worker.log.count(until) > before, what=until)


Configure = Callable[..., Configured]


@pytest.fixture
def configure(daemon: StartDaemon, tmp_path: Path) -> Configure:
    def make(project: Project, text: str = "", **environment: str) -> Configured:
        configured = Configured(daemon(project, **environment), tmp_path / "worker.toml")
        configured.write(text)
        return configured

    return make


async def test_limits_change_beside_running_jobs(direct: Project, configure: Configure) -> None:
    """No drain: the job that runs goes on, and another begins beside it at once."""
    each = configure(direct, "max_held = 1")
    async with each.worker as worker:
        first = await direct.insert("chat", steps=1000, step_s=0.1)
        await direct.until_running(first)
        second = await direct.insert("chat")

        await each.reload("max_held = 2\n[stop]\ngrace_s = 0.1", "settings taken up: max_held")

        await direct.until(second, "completed")
        assert (await direct.database.row(first))["status"] == "processing"
        assert worker.log.count("taking jobs:") == 1
        # The environment wins over the file at a reload too.
        assert "stop.grace_s" not in worker.log
        await direct.database.owner.execute("select cancel_job($1)", first)
        await direct.until(first, "cancelled")


async def test_wrong_settings_change_nothing(direct: Project, configure: Configure) -> None:
    """Each mistake is told, and the worker takes jobs as before; the next try may be right."""
    each = configure(direct, "max_held = 5")
    async with each.worker as worker:
        wrong = 'max_held = 0\nworker_tipe = "chat"\n[leases]\nduration_s = "long"'
        await each.reload(wrong, "settings not taken up: leases.duration_s: ")
        for problem in ("max_held: Input should be", "worker_tipe: there is no such setting"):
            assert f"settings not taken up: {problem}" in worker.log
        await each.reload("[max_held", "worker.toml: Expected")
        # What only a start would find: the model's files, and the size of the device.
        await each.reload("[models.wan]\nweights_gb = 9", "model wan")
        await each.reload("[live]\nbroadcast = true", "live.broadcast sends through Supabase")

        assert (await worker.get("/ready"))[0] == 200
        await direct.until(await direct.insert(), "completed")
        assert worker.log.count("taking jobs:") == 1
        await each.reload("max_held = 6", "settings taken up: max_held")


async def test_other_models_cost_a_drain_and_no_job(
    direct: Project, configure: Configure, tmp_path: Path
) -> None:
    """What runs is finished on its engine; engines of unchanged models live on, others don't."""
    # A stop would give it no such time.
    each = configure(direct, OURVIDZ_STOP__GRACE_S="0.1")
    async with each.worker as worker:
        await direct.until(await direct.insert("sdxl_image_fast"), "completed")
        [old_sdxl] = worker.engines()
        hold = tmp_path / "hold"
        running = await direct.insert("chat", hold=str(hold))
        await direct.until_running(running)
        [chat] = set(worker.engines()) - {old_sdxl}

        each.write("[models.sdxl]\nbudget_gb = 13")
        worker.signal(signal.SIGHUP)
        await eventually(lambda: "finishing jobs" in worker.log)
        queued = await direct.insert("chat")
        assert (await worker.get("/ready"))[0] == 503
        hold.touch()
        await eventually(lambda: worker.log.count("taking jobs:") == 2)

        row = await direct.database.row(running)
        assert (row["status"], row["attempts"]) == ("completed", 1)
        await direct.until(queued, "completed")
        assert "since models.sdxl.budget_gb" in worker.log
        assert "engines that live on: chat" in worker.log
        assert worker.engines() == [chat]
        assert worker.log.count("model loaded model=chat") == 1

        await direct.until(await direct.insert("sdxl_image_fast"), "completed")
        assert old_sdxl not in worker.engines()
        assert (await worker.get("/status"))[1]["models"]["sdxl"] == "loaded"
        await direct.assert_nothing_held()


async def test_reload_after_reload(direct: Project, configure: Configure) -> None:
    """An engine can be handed on and on, and is still the worker's own to stop at the end."""
    each = configure(direct)
    async with each.worker as worker:
        await direct.until(await direct.insert(), "completed")
        engines = worker.engines()
        for seconds in (700, 800, 900):
            await each.reload(f"max_pass_over_s = {seconds + 1}", "taking jobs:")
            await direct.until(await direct.insert(), "completed")
            assert worker.engines() == engines
        assert await worker.stop() == 0
        worker.assert_clean()


async def test_an_engine_that_dies_while_it_is_handed_on(
    direct: Project, configure: Configure
) -> None:
    """The new parts find it dead, and load another one."""
    each = configure(direct, **IMPATIENT)
    async with each.worker as worker, direct.database.session() as blocker:
        await direct.until(await direct.insert(), "completed")
        [engine] = worker.engines()
        # The new parts ask for the schema, and wait here: nobody watches the engine meanwhile.
        await blocker.execute("begin; lock table ourvidz_migrations in access exclusive mode")
        each.write("max_pass_over_s = 901")
        worker.signal(signal.SIGHUP)
        await eventually(lambda: "engines that live on: chat" in worker.log)
        os.kill(engine, signal.SIGKILL)
        await blocker.execute("commit")
        await eventually(lambda: worker.log.count("taking jobs:") == 2)

        await direct.until(await direct.insert(), "completed")
        assert engine not in worker.engines()
        assert len(worker.engines()) == 1


async def test_another_database(
    direct: Project, direct_server: DirectServer, configure: Configure, tmp_path: Path
) -> None:
    """It is tried before the drain; the worker then takes jobs from there."""
    async with direct_server.project(tmp_path / "others") as other:
        each = configure(direct)
        dsn = each.worker.environment.pop("DATABASE_URL")
        each.write(f'[database]\ndsn = "{dsn}"')
        async with each.worker as worker:
            nowhere = "postgres://worker:hush@127.0.0.1:1/none"
            await each.reload(f'[database]\ndsn = "{nowhere}"', "the database can't be reached")
            await direct.until(await direct.insert(), "completed")
            there = other.environment["DATABASE_URL"]

            await each.reload(f'[database]\ndsn = "{there}"', "taking jobs:")

            await other.until(await other.insert(), "completed")
            left = await direct.insert()
            await other.until(await other.insert(), "completed")
            assert await direct.status(left) == "queued"
            assert "hush" not in worker.log
            assert len(worker.engines()) == 1


async def test_what_belongs_to_the_process_needs_a_restart(
    direct: Project, configure: Configure
) -> None:
    """It is said, and the rest is taken up."""
    each = configure(direct, '[server]\nhost = "127.0.0.1"')
    async with each.worker as worker:
        text = 'max_held = 7\n[server]\nhost = "127.0.0.2"'
        await each.reload(text, "these settings need a restart: server.host")
        await eventually(lambda: "settings taken up: max_held" in worker.log)
        assert (await worker.get("/ready"))[0] == 200


async def test_a_stop_during_a_reload_is_a_stop(direct: Project, configure: Configure) -> None:
    """A reload's drain has no limit, the stop's has: the job is released, its engine ends."""
    each = configure(direct, OURVIDZ_STOP__GRACE_S="0.2")
    async with each.worker as worker:
        job = await direct.insert("chat", steps=1000, step_s=0.1)
        await direct.until_running(job)
        each.write("max_pass_over_s = 901")
        worker.signal(signal.SIGHUP)
        await eventually(lambda: "finishing jobs" in worker.log)
        assert await worker.stop() == 0
        worker.assert_clean()
        row = await direct.database.row(job)
        assert (row["status"], row["attempts"]) == ("queued", 0)
        await direct.assert_nothing_held()


async def test_secrets_read_at_a_reload_are_not_logged(
    direct: Project, configure: Configure, tmp_path: Path
) -> None:
    """Neither new ones, nor those of before; what changed is named only."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "supabase_key").write_text("first-secret-key\n")
    each = configure(direct, CREDENTIALS_DIRECTORY=str(folder))
    async with each.worker as worker:
        (folder / "supabase_key").write_text("second-secret-key\n")
        await each.reload("max_held = 3", "taking jobs:")
        assert "since supabase.key" in worker.log
        assert "secret-key" not in worker.log


async def test_a_stop_between_old_and_new_parts(direct: Project, configure: Configure) -> None:
    """Engines that were kept for the new parts end with a worker that never builds them."""
    each = configure(direct, **IMPATIENT)
    async with each.worker as worker, direct.database.session() as blocker:
        await direct.until(await direct.insert(), "completed")
        await blocker.execute("begin; lock table ourvidz_migrations in access exclusive mode")
        each.write("max_pass_over_s = 901")
        worker.signal(signal.SIGHUP)
        await eventually(lambda: "engines that live on: chat" in worker.log)
        assert len(worker.engines()) == 1
        assert await worker.stop() == 0
        worker.assert_clean()


async def test_a_reload_beside_a_newer_schema_is_refused(
    direct: Project, configure: Configure
) -> None:
    """A start would be refused: the worker that runs goes on, until its successor is installed."""
    each = configure(direct)
    async with each.worker as worker:
        await direct.database.owner.execute(
            "insert into ourvidz_migrations values (9999, '9999_later', '')"
        )
        await each.reload("max_pass_over_s = 901", "install the newer ourvidz-worker")
        await each.reload("max_held = 3", "max_held")
        await direct.until(await direct.insert(), "completed")
        assert worker.log.count("taking jobs:") == 1


async def test_models_that_are_served_no_more(
    direct: Project, configure: Configure, tmp_path: Path
) -> None:
    """Their engines end with the old parts, and nothing trips over them meanwhile."""
    each = configure(direct)
    async with each.worker as worker:
        await direct.until(await direct.insert("sdxl_image_fast"), "completed")
        hold = tmp_path / "hold"
        running = await direct.insert("chat", hold=str(hold))
        await direct.until_running(running)
        each.write('worker_type = "chat"')
        worker.signal(signal.SIGHUP)
        await eventually(lambda: "finishing jobs" in worker.log)

        _, health = await worker.get("/health")
        assert (health["status"], health["worker_type"]) == ("draining", "all")
        hold.touch()
        await eventually(lambda: worker.log.count("taking jobs:") == 2)

        async def healthy() -> bool:
            _, health = await worker.get("/health")
            return (health["status"], health["worker_type"]) == ("healthy", "chat")

        await eventually(healthy, what="its wake-ups are proven alive again")
        assert len(worker.engines()) == 1
        of_sdxl = {
            name: value
            for name, value in (await worker.metrics()).items()
            if 'model="sdxl"' in name and "state=" in name
        }
        assert [name for name, value in of_sdxl.items() if value] == [
            name for name in of_sdxl if 'state="unloaded"' in name
        ]
        assert any(of_sdxl.values())
        left = await direct.insert("sdxl_image_fast")
        await direct.until(await direct.insert("chat"), "completed")
        assert await direct.status(left) == "queued"
