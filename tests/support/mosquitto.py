"""A real broker: mosquitto with configuration, passwords and rights of its own, on a free port."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiomqtt
import pytest
from eventually import eventually
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from devstack.postgres import free_port

WORKER, OPERATOR, GUEST = "worker", "operator", "guest"
PASSWORDS = {WORKER: "secret-of-mqtt-worker", OPERATOR: "secret-of-operator", GUEST: "guest-guest"}

RIGHTS = """
user worker
topic write ourvidz/worker/status
topic write ourvidz/worker/telemetry
topic write ourvidz/worker/jobs/#
topic write ourvidz/worker/control/ack
topic write replies/#
topic read ourvidz/worker/control

user operator
topic read ourvidz/#
topic write ourvidz/worker/control
topic read replies/#

user guest
topic read ourvidz/#
"""


def program() -> str:
    """Return where mosquitto is; without it the test fails where it must run, else is skipped."""
    found = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("mosquitto isn't installed")
    return found


class Broker:
    """One broker, that can be stopped, killed, halted and started again with what it retained."""

    def __init__(self, folder: Path, tls: Mapping[str, Path] | None = None) -> None:
        self.port = free_port()
        self._folder = folder
        self._tls = tls or {}
        self._process: asyncio.subprocess.Process | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._configure()

    @property
    def settings(self) -> dict[str, str]:
        """What a daemon's environment says of it."""
        return {
            "OURVIDZ_MQTT__HOST": "localhost" if self._tls else "127.0.0.1",
            "OURVIDZ_MQTT__PORT": str(self.port),
            "OURVIDZ_MQTT__TLS": "true" if self._tls else "false",
            "OURVIDZ_MQTT__USERNAME": WORKER,
            "OURVIDZ_MQTT__PASSWORD": PASSWORDS[WORKER],
            "OURVIDZ_MQTT__INTERVAL_S": "0.05",
            "OURVIDZ_MQTT__TELEMETRY_S": "0.3",
        }

    @property
    def log(self) -> str:
        """What it wrote."""
        return (self._folder / "mosquitto.log").read_text(errors="replace")

    def _configure(self) -> None:
        passwords = self._folder / "passwords"
        passwords.write_text("".join(f"{name}:{word}\n" for name, word in PASSWORDS.items()))
        subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
        rights = self._folder / "rights"
        rights.write_text(RIGHTS)
        lines = [
            f"listener {self.port} 127.0.0.1",
            *(f"{name} {path}" for name, path in self._tls.items()),
            f"password_file {passwords}",
            f"acl_file {rights}",
            "allow_anonymous false",
            "persistence true",
            f"persistence_location {self._folder}/",
            "autosave_interval 1",
            "autosave_on_changes true",
            *(["user root"] if os.getuid() == 0 else []),
        ]
        (self._folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    async def start(self) -> Self:
        """Start it, and wait until it listens."""
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                program(), "-v", "-c", str(self._folder / "mosquitto.conf"), stdout=log, stderr=log
            )

        async def listens() -> bool:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return True
            return False

        await eventually(listens, what="mosquitto listens")
        return self

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            await self._process.wait()

    def halt(self) -> None:
        """Have it take nothing more, while its connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on after `halt`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.returncode is None:
            self.go_on()
        await self.stop()

    @asynccontextmanager
    async def client(self, name: str = OPERATOR, *topics: str) -> AsyncIterator["Client"]:
        """Connect somebody, who hears what comes to these topics (by default: all of the fleet)."""
        trusted = self._tls.get("cafile")
        async with aiomqtt.Client(
            "localhost" if trusted else "127.0.0.1",
            self.port,
            username=name,
            password=PASSWORDS[name],
            protocol=aiomqtt.ProtocolVersion.V5,
            tls_context=ssl.create_default_context(cafile=trusted) if trusted else None,
        ) as connection:
            client = Client(connection)
            for topic in topics or ("ourvidz/#",):
                await connection.subscribe(topic, qos=1)
            hearing = asyncio.create_task(client.hear())
            try:
                yield client
            finally:
                hearing.cancel()
                await asyncio.wait([hearing])


@dataclass
class Heard:
    """One message that came."""

    topic: str
    body: dict[str, Any]
    retained: bool
    correlation: bytes | None


@dataclass
class Client:
    """Somebody at the broker, and all that he has heard."""

    connection: aiomqtt.Client
    heard: list[Heard] = field(default_factory=list)

    async def hear(self) -> None:
        with contextlib.suppress(aiomqtt.MqttError):
            async for message in self.connection.messages:
                assert isinstance(message.payload, bytes)
                # What is told to the worker comes by here too, and needn't be JSON.
                with contextlib.suppress(ValueError, RecursionError):
                    body = json.loads(message.payload)
                    self.heard.append(
                        Heard(
                            str(message.topic),
                            body,
                            message.retain,
                            getattr(message.properties, "CorrelationData", None),
                        )
                    )

    def on(self, topic: str) -> list[dict[str, Any]]:
        """Return the bodies that came to a topic, the oldest first."""
        return [each.body for each in self.heard if each.topic == topic]

    async def until_state(self, state: str, topic: str = "ourvidz/worker/status") -> dict[str, Any]:
        """Return the worker's status as soon as its latest one is this."""

        def is_so() -> dict[str, Any] | None:
            told = self.on(topic)
            return told[-1] if told and told[-1]["state"] == state else None

        found = await eventually(is_so, what=f"the status says {state}")
        assert found is not None
        return found

    async def tell(
        self,
        payload: bytes | dict[str, Any],
        *,
        reply_to: str | None = None,
        correlation: bytes | None = None,
        retain: bool = False,
    ) -> None:
        """Send something to the worker's control topic."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if reply_to is not None:
            properties.ResponseTopic = reply_to
        if correlation is not None:
            properties.CorrelationData = correlation
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        await self.connection.publish(
            "ourvidz/worker/control", raw, qos=1, retain=retain, properties=properties
        )

    async def ask(self, payload: bytes | dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a command, which comes to the worker's own topic."""
        topic = "ourvidz/worker/control/ack"
        before = len(self.on(topic))
        await self.tell(payload)
        await eventually(lambda: len(self.on(topic)) > before, what="an answer")
        return self.on(topic)[before]
