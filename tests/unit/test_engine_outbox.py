"""What an engine says goes out in order, and steps that wait become one."""

import asyncio
from typing import Any, cast

import pytest

from daemon.engines import protocol
from daemon.engines.outbox import Outbox


class Wire:
    """Keeps what is written, decoded."""

    def __init__(self) -> None:
        self.messages: list[protocol.FromEngine] = []
        self._reader = protocol.reader_of_engine()

    def writelines(self, frames: list[bytes]) -> None:
        for frame in frames:
            self.messages += self._reader.feed(frame)

    async def drain(self) -> None:
        pass


@pytest.fixture
def wire() -> Wire:
    return Wire()


async def sent(outbox: Outbox) -> None:
    """Send everything that was posted so far."""
    sending = asyncio.create_task(outbox.send_forever())
    await outbox.sent()
    sending.cancel()


async def test_steps_that_wait_become_one(wire: Wire) -> None:
    """The latest numbers, all the text in order, the latest preview."""
    outbox = Outbox(cast("Any", wire))

    outbox.step(protocol.Step("a", "x", 0.1, 1, 4, "one ", b"first"))
    outbox.step(protocol.Step("b", "y", 0.5, text="other"))
    outbox.step(protocol.Step("a", "x", 0.2, 2, 4, "two ", b"second"))
    outbox.step(protocol.Step("a", "x", 0.3, 3, 4, "three"))
    outbox.post(protocol.RunCancelled("a"))
    await sent(outbox)

    assert wire.messages == [
        protocol.Step("a", "x", 0.3, 3, 4, "one two three", b"second"),
        protocol.Step("b", "y", 0.5, text="other"),
        protocol.RunCancelled("a"),
    ]


async def test_what_was_sent_is_not_sent_again(wire: Wire) -> None:
    """A step after a batch holds only what is new."""
    outbox = Outbox(cast("Any", wire))

    outbox.step(protocol.Step("a", "x", 0.1, text="one "))
    outbox.post(protocol.Pong(1, 0))
    await sent(outbox)
    outbox.step(protocol.Step("a", "x", 0.2, text="two"))
    outbox.post(protocol.Pong(2, 0))
    await sent(outbox)

    steps = [message for message in wire.messages if isinstance(message, protocol.Step)]
    assert [(step.text, step.preview) for step in steps] == [("one ", None), ("two", None)]
