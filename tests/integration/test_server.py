"""The side server on a real port, and how soon it answers."""

import subprocess
import sys

import aiohttp
import pytest

from daemon.server.app import build_app
from daemon.server.reports import Health, Phase, Status
from daemon.server.service import BindError, PortInUseError, SideServer

LOOPBACK = "127.0.0.1"


class Starting:
    """A daemon of which nothing is built yet."""

    def health(self) -> Health:
        return Health("all", Phase.STARTING, 0.1)

    def ready(self) -> tuple[bool, list[str]]:
        return False, ["starting"]

    def status(self) -> Status:
        return Status(self.health(), "w", "0")

    def exposition(self) -> bytes:
        return b""


def server(port: int = 0, host: str = LOOPBACK) -> SideServer:
    return SideServer(build_app(Starting(), api_key=None), host, port)


async def test_answers_while_everything_else_is_still_starting() -> None:
    """Entered means bound: the first request is answered, on the port that is told."""
    async with server() as side, aiohttp.ClientSession() as session:
        response = await session.get(f"http://{LOOPBACK}:{side.port}/health")
        status = await session.get(f"http://{LOOPBACK}:{side.port}/status")

        assert (response.status, (await response.json())["status"]) == (200, "starting")
        assert status.status == 200


async def test_taken_port_is_explained() -> None:
    """The operator reads a sentence with the port, and no chain of causes."""
    async with server() as first:
        with pytest.raises(PortInUseError, match=f"^port {first.port} is in use: ") as caught:
            async with server(first.port):
                pass

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_foreign_address_is_explained() -> None:
    """An address that this host doesn't have is a sentence too."""
    with pytest.raises(BindError, match="can't listen on 192\\.0\\.2\\.1 port "):
        async with server(host="192.0.2.1"):
            pass


async def test_port_is_free_after_leaving() -> None:
    """A restart can bind at once."""
    async with server() as first:
        port = first.port
        async with aiohttp.ClientSession() as session:
            await session.get(f"http://{LOOPBACK}:{port}/health")

    async with server(port) as second:
        assert second.port == port


def test_server_imports_nothing_heavy() -> None:
    """What would delay the first answer is not imported: checked in a fresh interpreter."""
    code = (
        "import sys, daemon.server.app, daemon.server.service;"
        "print(' '.join(sorted(name for name in sys.modules if '.' not in name)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )

    heavy = {"supabase", "asyncpg", "numpy", "torch", "structlog", "prometheus_client", "pynvml"}
    assert heavy & set(done.stdout.split()) == set()
