"""The connection to the broker, one after another: presence first, then what comes and goes.

    connect (the will says offline) -> status -> commands in, messages out -> offline -> disconnect

Whatever the broker does, the worker doesn't notice: a link that fails is made anew after a while,
and messages wait in `Outgoing`, or go.
"""

import asyncio
import contextlib
import itertools
import logging
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from aiomqtt import Client, MqttError, ProtocolVersion, Will
from aiomqtt import Message as Received
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from daemon.outside_sections import MqttSettings
from daemon.telemetry.mqtt.control import Control
from daemon.telemetry.mqtt.outgoing import Message, Outgoing
from daemon.telemetry.mqtt.topics import Topics
from daemon.wakeups.backoff import Backoff

ANSWER_S = 5.0
"""How long the broker may take for one answer; a slower one is connected to anew."""

GOODBYE_S = 2.0
"""How long a worker that stops waits to say so."""

MOST_BYTES = 65_536
"""Of a packet that the broker may send; larger ones it drops."""

_MOST_RECEIVED = 100
_FAILURE = 128
"""Reason codes from here on are refusals."""

_log = structlog.get_logger("daemon.telemetry.mqtt")

# The libraries' own lines say again what the errors say that come from them.
_client_log = logging.getLogger("daemon.telemetry.mqtt.client")
_client_log.setLevel(logging.CRITICAL)


@dataclass
class Link:
    """Keeps a connection for as long as it runs.

    Args:
        settings: where the broker is, and who we are there.
        topics: the worker's names.
        outgoing: what is to be sent.
        control: takes commands; None: none are listened to.
        status: returns the presence as it is now.
        will: the presence that the broker tells when the worker is lost.
        farewell: the one that the worker tells when it stops.
    """

    settings: MqttSettings
    topics: Topics
    outgoing: Outgoing
    control: Control | None
    status: Callable[[], bytes]
    will: bytes
    farewell: bytes
    clock: Callable[[], float] = time.monotonic
    _failing: bool = False
    _answers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def run(self) -> None:
        """Connect again and again; never returns."""
        backoff = Backoff(random.random, cap_s=30.0)
        tls = self._tls()
        while True:
            ready_at = self.clock()
            try:
                async with self._client(tls) as client:
                    ready_at = self.clock()
                    await self._converse(client)
            # A host's name may be no name at all, and files of TLS may go.
            except* (MqttError, OSError, ValueError) as errors:
                self._say_failing(errors)
            _stop_if_told()
            await asyncio.sleep(backoff.delay_after(self.clock() - ready_at))

    async def _converse(self, client: Client) -> None:
        try:
            await self._publish(client, Message(self.topics.status, self.status, 1, retain=True))
            if self.control is not None:
                await self._subscribe(client)
            self._say_connected()
            # In a task of its own: a group that fails counts as a cancellation of its task.
            await asyncio.create_task(self._exchange(client), name="mqtt exchange")
        except asyncio.CancelledError:
            client.timeout = GOODBYE_S
            with contextlib.suppress(MqttError):
                await client.publish(self.topics.status, self.farewell, qos=1, retain=True)
            raise

    async def _exchange(self, client: Client) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_urgent(client))
            group.create_task(self._send_paced(client))
            group.create_task(self._listen(client))

    async def _subscribe(self, client: Client) -> None:
        options = SubscribeOptions(
            qos=1,
            noLocal=True,
            # Also one that comes now shows whether it is to be kept.
            retainAsPublished=True,
            retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND,
        )
        reasons = await client.subscribe(self.topics.control, options=options)
        if any(getattr(reason, "value", reason) >= _FAILURE for reason in reasons):
            _log.warning("the broker refuses commands", topic=self.topics.control)

    async def _send_urgent(self, client: Client) -> None:
        while True:
            first = self.outgoing.next_urgent()
            if first is None:
                await self.outgoing.urgent_waits.wait()
                continue
            await self._publish(client, first[1])
            self.outgoing.sent_urgent(*first)

    async def _send_paced(self, client: Client) -> None:
        pause_s = self.settings.interval_s
        at_once = max(1, int(self.settings.messages_per_s * pause_s))
        while True:
            for _ in range(at_once):
                if (message := self.outgoing.take()) is None:
                    break
                await self._publish(client, message)
            await asyncio.sleep(pause_s)

    async def _listen(self, client: Client) -> None:
        async for message in client.messages:
            if self.control is not None and isinstance(message.payload, bytes):
                answer = self.control.take(message.payload, retained=message.retain)
                if answer is not None:
                    self._answer(message, answer)

    def _answer(self, asked: Received, answer: bytes) -> None:
        topic = self.topics.answer_to(getattr(asked.properties, "ResponseTopic", None))
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if (correlation := getattr(asked.properties, "CorrelationData", None)) is not None:
            properties.CorrelationData = correlation
        message = Message(topic, lambda: answer, qos=1, properties=properties)
        self.outgoing.put_urgent(("answer", next(self._answers)), message)

    async def _publish(self, client: Client, message: Message) -> None:
        try:
            payload = message.make()
        except Exception:  # noqa: BLE001 -- a defect in a message must not end the worker
            _log.exception("a message can't be made", topic=message.topic)
            return
        await client.publish(
            message.topic,
            payload,
            qos=message.qos,
            retain=message.retain,
            properties=message.properties,
        )
        _stop_if_told()

    def _client(self, tls: ssl.SSLContext | None) -> Client:
        settings = self.settings
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = MOST_BYTES
        password = settings.password.get_secret_value() if settings.password else None
        return Client(
            settings.host or "",
            settings.port or (8883 if settings.tls else 1883),
            username=settings.username,
            password=password,
            logger=_client_log,
            identifier=settings.client_id or self.topics.worker.replace("/", "-"),
            protocol=ProtocolVersion.V5,
            will=Will(self.topics.status, self.will, qos=1, retain=True),
            timeout=ANSWER_S,
            keepalive=settings.keepalive_s,
            max_queued_incoming_messages=_MOST_RECEIVED,
            properties=properties,
            tls_context=tls,
        )

    def _tls(self) -> ssl.SSLContext | None:
        settings = self.settings
        if not settings.tls:
            return None
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        return context

    def _say_connected(self) -> None:
        self.outgoing.counts.connections += 1
        _log.info("connected to the broker", host=self.settings.host)
        self._failing = False

    def _say_failing(self, errors: BaseExceptionGroup) -> None:
        """Log the first failure of many; the others are for those who look for them."""
        error: BaseException = errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        log = _log.debug if self._failing else _log.warning
        log("the broker is away: trying again", host=self.settings.host, error=str(error))
        self._failing = True


def _stop_if_told() -> None:
    """Raise the cancellation that the library lost: when what it waited for came as well."""
    current = asyncio.current_task()
    if current is not None and current.cancelling():
        raise asyncio.CancelledError
