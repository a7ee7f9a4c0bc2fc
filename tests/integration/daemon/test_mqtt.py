"""A whole worker on a real broker: who hears that it is there, how it fares, that it is gone."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from certificates import for_localhost
from daemon_process import Daemon
from eventually import eventually
from mosquitto import PASSWORDS, WORKER, Broker
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]


@pytest_asyncio.fixture(loop_scope="session")
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker of this test."""
    async with Broker(tmp_path / "broker") as running:
        yield running


async def test_presence_follows_the_worker_s_life(
    direct: Project, daemon: StartDaemon, broker: Broker, tmp_path: Path
) -> None:
    """Online, draining while it finishes a job, offline by its word; kept for who comes late."""
    async with broker.client() as watching, daemon(direct, **broker.settings) as worker:
        online = await watching.until_state("online")
        hold = tmp_path / "hold"
        job = await direct.insert("chat", hold=str(hold))
        await direct.until_running(job)
        stopping = asyncio.create_task(worker.stop())
        await watching.until_state("draining")
        hold.touch()
        await stopping
        offline = await watching.until_state("offline")
        async with broker.client() as late:
            retained = await late.until_state("offline")
            assert [each.retained for each in late.heard] == [True]

    assert (await direct.database.row(job))["status"] == "completed"
    assert (online["worker_id"], offline["reason"]) == ("worker", "stopped")
    assert retained == offline
    assert "Client ourvidz-worker disconnected." in broker.log


async def test_a_killed_worker_is_told_offline_by_its_will(
    direct: Project, daemon: StartDaemon, broker: Broker
) -> None:
    """Nobody was left to say it; the next one is online again."""
    worker = daemon(direct, **broker.settings)
    async with broker.client() as watching:
        async with worker:
            first = await watching.until_state("online")
            await worker.kill()
            offline = await watching.until_state("offline")
        async with daemon(direct, **broker.settings):
            second = await watching.until_state("online")

    assert offline["reason"] == "lost"
    assert offline["instance_id"] == first["instance_id"] != second["instance_id"]


async def test_telemetry_and_jobs_are_told(
    direct: Project, daemon: StartDaemon, broker: Broker
) -> None:
    """Steps and ends of rows' jobs, without what their users wrote or who they are."""
    async with broker.client() as watching, daemon(direct, **broker.settings):
        good = await direct.insert("chat", steps=10, step_s=0.05)
        bad = await direct.insert("sdxl_image_fast", fail="a quokka")
        await direct.until(good, "completed")
        await direct.until(bad, "failed")

        def ended(job: object) -> bool:
            return any(each["event"] == "end" for each in watching.on(f"ourvidz/worker/jobs/{job}"))

        await eventually(lambda: ended(good) and ended(bad), what="both have ended")
        await eventually(
            lambda: any(
                each["performance"]["jobs_failed"] == 1
                for each in watching.on("ourvidz/worker/telemetry")
            ),
            what="telemetry counts them",
        )
    *steps, end = watching.on(f"ourvidz/worker/jobs/{good}")
    failed = watching.on(f"ourvidz/worker/jobs/{bad}")[-1]
    telemetry = watching.on("ourvidz/worker/telemetry")[-1]

    assert [each["progress"] for each in steps] == sorted({each["progress"] for each in steps})
    assert {each["event"] for each in steps} == {"step"}
    assert steps[-1]["current_step"] in {"generating_text", "loading_model"}
    assert (end["status"], end["outcome"], end["job_id"]) == ("completed", "completed", str(good))
    assert end["trace_id"] == good.hex
    assert set(end["timings"]) == {"wake_up", "queue", "vram", "switch", "load", "run", "upload"}
    assert (failed["status"], failed["error_code"]) == ("failed", "GENERATION_FAILED")
    assert (telemetry["worker_id"], telemetry["state"]) == ("worker", "online")
    assert telemetry["models"]["sdxl"] == "loaded"
    told = str([each.body for each in watching.heard])
    assert not [word for word in ("a lake", "quokka", "user_id", "result") if word in told]


async def test_users_are_told_where_they_may_be(
    supabase: Project, daemon: StartDaemon, broker: Broker
) -> None:
    """By setting alone."""
    user = await supabase.user()
    async with (
        broker.client() as watching,
        daemon(supabase, **broker.settings, OURVIDZ_MQTT__USERS="true"),
    ):
        job = await user.insert("chat", {"prompt": "a lake"})
        await supabase.until(job, "completed")
        topic = f"ourvidz/worker/jobs/{job}"
        await eventually(
            lambda: [each for each in watching.on(topic) if each["event"] == "end"], what="its end"
        )

    assert {each["user_id"] for each in watching.on(topic)} == {str(user.id)}


async def test_a_broker_that_comes_late_and_goes_is_connected_to_again(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """The worker runs on meanwhile; what it says at the next connection replaces what was kept."""
    broker = Broker(tmp_path / "broker")
    async with daemon(direct, **broker.settings) as worker:
        await direct.until(await direct.insert("chat"), "completed")
        await eventually(lambda: "the broker is away" in worker.log, what="it says so")
        async with broker:
            async with broker.client() as watching:
                await watching.until_state("online")
            for number in (signal.SIGTERM, signal.SIGKILL):
                await broker.stop(number)
                await direct.until(await direct.insert("chat"), "completed")
                await broker.start()
                async with broker.client() as again:
                    await eventually(
                        lambda here=again: here.on("ourvidz/worker/telemetry"), what="telemetry"
                    )
                    await again.until_state("online")
            status = (await worker.get("/status"))[1]
            log = worker.log

    assert status["counters"]["mqtt_connections"] == 3
    assert log.count("WARNING - the broker is away") == 3


async def test_a_wrong_password_is_said_once_and_costs_nothing(
    direct: Project, daemon: StartDaemon, broker: Broker
) -> None:
    """Without the password."""
    wrong = {**broker.settings, "OURVIDZ_MQTT__PASSWORD": "wrong-and-secret"}
    async with daemon(direct, **wrong) as worker:
        await eventually(lambda: worker.log.count("the broker is away") >= 2, what="it tries again")
        await direct.until(await direct.insert("chat"), "completed")
    warnings = [line for line in worker.log.splitlines() if "WARNING - the broker" in line]

    assert len(warnings) == 1
    assert "Not authorized" in warnings[0]
    assert "wrong-and-secret" not in worker.log


async def test_a_broker_that_takes_nothing_holds_nothing_up(
    direct: Project, daemon: StartDaemon, broker: Broker
) -> None:
    """Of what waits for it the oldest goes, and is counted; jobs go on, and so does the stop."""
    few = {"OURVIDZ_MQTT__QUEUE": "5", "OURVIDZ_MQTT__TELEMETRY_S": "0.05"}
    async with daemon(direct, **broker.settings | few) as worker:
        async with broker.client() as watching:
            await watching.until_state("online")
        broker.halt()
        jobs = [await direct.insert("chat") for _ in range(30)]
        for job in jobs:
            await direct.until(job, "completed")

        async def dropped() -> bool:
            return bool((await worker.get("/status"))[1]["counters"]["mqtt_dropped"] >= 20)

        await eventually(dropped, what="drops are counted")
        await worker.stop()
        broker.go_on()
        async with broker.client() as watching:
            await watching.until_state("offline")


@pytest.mark.parametrize("trusted", [True, False])
async def test_the_broker_is_known_by_its_certificate(
    direct: Project, daemon: StartDaemon, tmp_path: Path, trusted: bool
) -> None:
    """With TLS; one that nobody knows learns neither name nor password."""
    files = for_localhost(tmp_path / "tls")
    known = files if trusted else for_localhost(tmp_path / "other")
    async with Broker(tmp_path / "broker", files) as broker:
        settings = {**broker.settings, "OURVIDZ_MQTT__CA_FILE": str(known["cafile"])}
        async with daemon(direct, **settings) as worker, broker.client() as watching:
            if trusted:
                await watching.until_state("online")
            else:
                await eventually(lambda: "broker is away" in worker.log, what="it refuses")
                assert "CERTIFICATE_VERIFY_FAILED" in worker.log
                assert watching.heard == []


async def test_no_secret_is_told(direct: Project, daemon: StartDaemon, broker: Broker) -> None:
    """Neither to the broker nor to the log, at the lowest level."""
    async with broker.client() as watching, daemon(direct, **broker.settings) as worker:
        await eventually(lambda: watching.on("ourvidz/worker/telemetry"), what="telemetry")
    told = worker.log + str([each.body for each in watching.heard])

    assert PASSWORDS[WORKER] not in told
    assert not [secret for secret in direct.secrets if secret in told]
