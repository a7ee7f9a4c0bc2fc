"""Notices to systemd, on a real socket."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from daemon.telemetry.systemd import Systemd


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A socket as systemd has it: a path, or an abstract name written with "@"."""
    address = str(tmp_path / "n") if request.param == "path" else f"@ourvidz-{uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0", 1) if address[0] == "@" else address)
        listening.settimeout(10)
        yield address, listening


def environment(address: str, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": address, "PATH": "/bin", **more}


def received(listening: socket.socket) -> list[str]:
    return listening.recv(4096).decode().split("\n")


def test_each_notice_is_one_datagram(listener: tuple[str, socket.socket]) -> None:
    """Start, stop and status lines, the latter without newlines of their own."""
    address, listening = listener
    systemd = Systemd.from_environment(environment(address))

    systemd.ready("takes\nREADY=0 jobs")
    systemd.status("2 jobs")
    systemd.stopping()

    assert received(listening) == ["READY=1", "STATUS=takes READY=0 jobs"]
    assert received(listening) == ["STATUS=2 jobs"]
    assert received(listening) == ["STOPPING=1"]


def test_engines_do_not_inherit_the_socket(listener: tuple[str, socket.socket]) -> None:
    """Only the daemon speaks for the unit."""
    environ = environment(listener[0], WATCHDOG_USEC="1000000", WATCHDOG_PID=str(os.getpid()))

    Systemd.from_environment(environ)

    assert environ == {"PATH": "/bin"}


async def test_watchdog_is_fed_at_half_its_time(listener: tuple[str, socket.socket]) -> None:
    """Twice as often as needed, from the event loop."""
    address, listening = listener
    systemd = Systemd.from_environment(environment(address, WATCHDOG_USEC="30000000"))
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await systemd.feed_watchdog(sleep)

    assert waited == [15.0, 15.0, 15.0]
    assert [received(listening) for _ in waited] == [["WATCHDOG=1"]] * 3


@pytest.mark.parametrize(
    "watchdog",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
    ],
)
async def test_without_watchdog_nothing_is_fed(
    listener: tuple[str, socket.socket], watchdog: dict[str, str]
) -> None:
    """No time, a senseless one, or one that is meant for another process."""
    address, listening = listener
    feeding = asyncio.create_task(
        Systemd.from_environment(environment(address, **watchdog)).feed_watchdog()
    )
    await asyncio.sleep(0)
    feeding.cancel()
    listening.setblocking(False)

    with pytest.raises(BlockingIOError):
        listening.recv(1)


@pytest.mark.parametrize("address", [None, "", "/no/such/socket", "x" * 300])
def test_absent_systemd_is_no_error(address: str | None) -> None:
    """In a terminal or a container nobody listens."""
    systemd = Systemd.from_environment({} if address is None else environment(address))

    systemd.ready("up")
    systemd.stopping()
