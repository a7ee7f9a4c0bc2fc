"""Addresses that show wrong keys."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp.test_utils import TestClient

from daemon.server.strangers import FORGET_S, FREE, LONGEST_S, Strangers

Connect = Callable[..., Awaitable[TestClient[Any, Any]]]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_pause_grows_and_ends() -> None:
    """Nothing for a few mistakes, then twice as long for each further one, up to a bound."""
    clock = Clock()
    strangers = Strangers(clock)
    waits = []
    for _ in range(FREE + 12):
        strangers.wrong("192.0.2.1")
        waits.append(strangers.wait("192.0.2.1"))

    assert waits[:FREE] == [0.0] * FREE
    assert waits[FREE : FREE + 4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == LONGEST_S
    clock.now += LONGEST_S
    assert strangers.wait("192.0.2.1") == 0.0
    assert strangers.wait("192.0.2.2") == 0.0


def test_quiet_address_starts_anew() -> None:
    """What was long ago doesn't count."""
    clock = Clock()
    strangers = Strangers(clock)
    for _ in range(FREE + 5):
        strangers.wrong("192.0.2.1")
    clock.now += FORGET_S + 1
    strangers.wrong("192.0.2.1")

    assert strangers.wait("192.0.2.1") == 0.0


def test_address_with_a_right_key_is_not_locked_out() -> None:
    """One wrong client behind a gateway costs the others nothing."""
    strangers = Strangers(Clock())
    strangers.right("192.0.2.1")
    for _ in range(FREE + 5):
        strangers.wrong("192.0.2.1")

    assert strangers.wait("192.0.2.1") == 0.0


def test_ipv6_addresses_of_one_network_count_together() -> None:
    """Its customer has 2**64 of them."""
    strangers = Strangers(Clock())
    for number in range(FREE + 1):
        strangers.wrong(f"2001:db8::{number:x}")

    assert strangers.wait("2001:db8::ffff") == 1.0
    assert strangers.wait("2001:db8:0:1::1") == 0.0
    assert strangers.wait("unknown") == 0.0


def test_tables_are_bounded() -> None:
    """However many addresses come: the oldest goes."""
    strangers = Strangers(Clock(), most=3)
    for _ in range(FREE + 1):
        strangers.wrong("192.0.2.1")
    for number in range(10):
        strangers.wrong(f"198.51.100.{number}")
        strangers.right(f"203.0.113.{number}")

    assert len(strangers) == 6
    assert strangers.wait("192.0.2.1") == 0.0


async def test_guesser_is_told_to_wait(connect: Connect) -> None:
    """During the pause not even a right key is looked at; after it, it opens."""
    clock = Clock()
    client = await connect("right", clock=clock)

    async def asked(key: str) -> Any:
        return await client.get("/status", headers={"X-API-Key": key})

    first = [(await asked("wrong")).status for _ in range(FREE + 1)]
    refused = await asked("right")
    clock.now += 1
    opened = await asked("right")
    without = await client.get("/status")

    assert first == [401] * (FREE + 1)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert (await refused.json())["error_code"] == "RATE_LIMITED"
    assert (opened.status, without.status) == (200, 401)
