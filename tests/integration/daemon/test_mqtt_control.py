"""Commands over a real broker: done, refused and answered, by settings and the broker's rights."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from daemon_process import Daemon
from eventually import eventually
from mosquitto import GUEST, Broker, Client
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]
ALL = {"OURVIDZ_MQTT__COMMANDS": json.dumps(["drain", "resume", "cancel", "log_level"])}
ACK = "ourvidz/worker/control/ack"


@pytest_asyncio.fixture(loop_scope="session")
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker of this test."""
    async with Broker(tmp_path / "broker") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def worker(direct: Project, daemon: StartDaemon, broker: Broker) -> AsyncIterator[Daemon]:
    """A worker that may be told everything."""
    async with daemon(direct, **broker.settings, **ALL, OURVIDZ_LOG__LEVEL="info") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def operator(worker: Daemon, broker: Broker) -> AsyncIterator[Client]:
    """Somebody who may tell it."""
    async with broker.client("operator", "ourvidz/#", "replies/#") as connected:
        await connected.until_state("online")
        yield connected


def command(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": str(uuid4()), "command": name, **fields}


async def test_a_drained_worker_takes_nothing_and_goes_on_when_told(
    direct: Project, worker: Daemon, operator: Client, tmp_path: Path
) -> None:
    """It finishes what it holds, keeps rows and requests out, and says so."""
    hold = tmp_path / "hold"
    held = await direct.insert("chat", hold=str(hold))
    await direct.until_running(held)

    drained = await operator.ask(drain := command("drain"))
    await operator.until_state("draining")
    assert (await worker.get("/status"))[1]["scheduler"]["draining"] is True
    waiting = await direct.insert("chat")
    hold.touch()
    await direct.until(held, "completed")
    async with httpx.AsyncClient(base_url=worker.url) as client:
        request = await client.post("/chat", json={"message": "hi", "system_prompt": ""})
    ready, _ = await worker.get("/ready")
    still = await direct.status(waiting)
    resumed = await operator.ask(command("resume"))
    await operator.until_state("online")
    await direct.until(waiting, "completed")

    assert drained == {
        "id": drain["id"], "command": "drain", "ok": True, "code": "done",
        "message": "1 jobs are held", "duplicate": False,
    }  # fmt: skip
    assert (request.status_code, ready, still, resumed["ok"]) == (503, 503, "queued", True)


async def test_a_job_is_cancelled(direct: Project, operator: Client) -> None:
    """As its owner would; one that isn't held here stays as it is."""
    job = await direct.insert("chat", steps=10_000, step_s=0.01)
    await direct.until_running(job)

    answer = await operator.ask(command("cancel", job_id=str(job)))
    unknown = await operator.ask(command("cancel", job_id=str(uuid4())))

    await direct.until(job, "cancelled")
    assert (answer["code"], unknown["code"]) == ("done", "not_held")


async def test_the_log_s_level_is_set(worker: Daemon, operator: Client) -> None:
    """Of all, or of one logger."""
    for fields in ({"level": "warning"}, {"level": "debug", "logger": "daemon.remote"}):
        answer = await operator.ask(command("log_level", **fields))
        assert answer["code"] == "done"
    before = worker.log.count("log level set")
    await operator.ask(command("log_level", level="info"))
    await eventually(lambda: worker.log.count("log level set") > before, what="it is heard again")

    # Between the two the daemon's own line about the first was below the level.
    assert "level=warning" not in worker.log


async def test_answers_go_where_they_are_asked_for(operator: Client) -> None:
    """With what their asker knows them by; never to where the fleet itself speaks."""
    await operator.tell(
        command("log_level", level="info"), reply_to="replies/me", correlation=b"\x01\xff"
    )
    await eventually(lambda: operator.on("replies/me"), what="the answer")
    answer = next(each for each in operator.heard if each.topic == "replies/me")
    for forbidden in ("ourvidz/worker/status", "ourvidz/other/control", "$SYS/x", "replies/+"):
        before = len(operator.on(ACK))
        await operator.tell(command("log_level", level="info"), reply_to=forbidden)
        await eventually(lambda count=before: len(operator.on(ACK)) > count, what="the answer")

    assert answer.correlation == b"\x01\xff"
    assert answer.body["ok"]
    assert {each["state"] for each in operator.on("ourvidz/worker/status")} == {"online"}


async def test_a_command_that_comes_twice_is_done_once(direct: Project, operator: Client) -> None:
    """Its id tells; the answer is the first one's."""
    job = await direct.insert("chat", steps=10_000, step_s=0.01)
    await direct.until_running(job)
    cancel = command("cancel", job_id=str(job))

    first = await operator.ask(cancel)
    await direct.until(job, "cancelled")
    again = await operator.ask(cancel)

    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert first["code"] == again["code"] == "done"


@pytest.mark.parametrize(
    ("payload", "code", "given"),
    [
        (b"", "invalid", None),
        (b"drain", "invalid", None),
        (b"\xff\xfe", "invalid", None),
        (b"[" * 4000, "invalid", None),
        (b'{"id": "x", "command": "explode"}', "invalid", "x"),
        (b'{"id": "x", "command": "drain", "now": true}', "invalid", "x"),
        (b'{"id": "x", "command": "cancel"}', "invalid", "x"),
        (b'{"id": "x", "command": "cancel", "job_id": "all"}', "invalid", "x"),
        (b'{"id": "x", "command": "log_level", "level": "all"}', "invalid", "x"),
        (b'{"id": "x", "command": "log_level", "level": "info", "logger": "a b"}', "invalid", "x"),
        (b'{"id": "", "command": "drain"}', "invalid", None),
        (b'{"command": "drain"}', "invalid", None),
        (b'{"id": "x", "command": "drain"}' + b" " * 4096, "too_large", None),
    ],
)
async def test_what_is_no_command_is_refused(
    direct: Project, operator: Client, payload: bytes, code: str, given: str | None
) -> None:
    """With the reason, and nothing happens."""
    answer = await operator.ask(payload)

    assert (answer["ok"], answer["code"], answer["id"]) == (False, code, given)
    await direct.until(await direct.insert("chat"), "completed")


async def test_a_flood_and_a_kept_command_are_not_heard(
    direct: Project, worker: Daemon, operator: Client
) -> None:
    """Nor answered; what the broker kept was meant for another time, and giants don't pass it."""
    await operator.tell(b"x" * 200_000)
    await operator.tell(command("drain"), retain=True)
    first = await operator.ask(command("log_level", level="info"))
    for _ in range(200):
        await operator.tell(command("log_level", level="info"))

    async def refused() -> bool:
        return bool((await worker.get("/status"))[1]["counters"]["mqtt_refused"] >= 100)

    await eventually(refused, what="most are refused")
    await direct.until(await direct.insert("chat"), "completed")

    assert first["ok"]
    assert len(operator.on(ACK)) < 100


async def test_what_is_not_allowed_is_forbidden(
    direct: Project, daemon: StartDaemon, broker: Broker
) -> None:
    """By the settings; and by the broker, that doesn't pass a guest's commands on."""
    some = {"OURVIDZ_MQTT__COMMANDS": '["log_level"]'}
    async with daemon(direct, **broker.settings | some), broker.client() as operator:
        await operator.until_state("online")
        answer = await operator.ask(command("drain"))
        async with broker.client(GUEST) as guest:
            await guest.tell(command("log_level", level="debug"))
            allowed = await operator.ask(command("log_level", level="debug"))
        await direct.until(await direct.insert("chat"), "completed")
        acks = operator.on(ACK)

    assert (answer["ok"], answer["code"]) == (False, "forbidden")
    assert acks == [answer, allowed]


async def test_by_default_nobody_is_listened_to(
    direct: Project, daemon: StartDaemon, broker: Broker
) -> None:
    """The topic isn't even subscribed to."""
    async with daemon(direct, **broker.settings), broker.client() as operator:
        await operator.until_state("online")
        await operator.tell(command("drain"))
        await direct.until(await direct.insert("chat"), "completed")
        state = operator.on("ourvidz/worker/status")[-1]["state"]

    assert state == "online"
    assert "ourvidz-worker" in broker.log
    assert "ourvidz/worker/control (QoS 1)" not in broker.log
