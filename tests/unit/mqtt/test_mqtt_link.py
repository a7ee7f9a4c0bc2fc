"""A link that is told to stop does, whatever its library makes of that."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from daemon.outside_sections import MqttSettings
from daemon.telemetry.mqtt.link import Link
from daemon.telemetry.mqtt.outgoing import Message, Outgoing
from daemon.telemetry.mqtt.topics import Topics


class Losing:
    """A client that loses a cancellation, as its `wait_for` does when the answer comes as well."""

    def __init__(self) -> None:
        self.publishing = asyncio.Event()

    async def publish(self, *_: Any, **__: Any) -> None:
        self.publishing.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return


@pytest.mark.parametrize("sender", ["_send_urgent", "_send_paced"])
async def test_a_cancellation_that_the_library_loses_is_not_lost(sender: str) -> None:
    """The worker would never stop: its services are waited for."""
    outgoing, client = Outgoing(10), Losing()
    put: Callable[..., None] = outgoing.put if sender == "_send_paced" else outgoing.put_urgent
    put("k", Message("t", bytes))
    link = Link(
        MqttSettings(host="broker"), Topics("p", "w"), outgoing, None, bytes, will=b"", farewell=b""
    )
    sending = asyncio.create_task(getattr(link, sender)(client))
    await client.publishing.wait()

    sending.cancel()
    done, _ = await asyncio.wait([sending], timeout=5)

    assert done == {sending}
    assert sending.cancelled()


class Taking:
    """A client that takes everything."""

    def __init__(self) -> None:
        self.topics: list[str] = []

    async def publish(self, topic: str, *_: Any, **__: Any) -> None:
        self.topics.append(topic)


async def test_a_message_that_can_t_be_made_is_left_out() -> None:
    """A service that raises would end the worker."""

    def broken() -> bytes:
        raise KeyError("x")

    outgoing, client = Outgoing(10), Taking()
    outgoing.put_urgent("a", Message("a", broken))
    outgoing.put_urgent("b", Message("b", bytes))
    link = Link(
        MqttSettings(host="broker"), Topics("p", "w"), outgoing, None, bytes, will=b"", farewell=b""
    )
    sending = asyncio.create_task(link._send_urgent(client))  # type: ignore[arg-type]
    while not client.topics:
        await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])

    assert client.topics == ["b"]
