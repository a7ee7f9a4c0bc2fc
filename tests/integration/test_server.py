"""The side server on a real port, and how soon it answers."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

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


def server(port: int = 0, host: str = LOOPBACK, api_key: str | None = None) -> SideServer:
    return SideServer(build_app(Starting(), api_key=api_key), host, port)


async def test_answers_while_everything_else_is_still_starting() -> None:
    """Entered means bound: the first request is answered, on the port that is told."""
    async with server() as side, aiohttp.ClientSession() as session:
        response = await session.get(f"http://{LOOPBACK}:{side.port}/health")
        status = await session.get(f"http://{LOOPBACK}:{side.port}/status")

        assert (response.status, (await response.json())["status"]) == (200, "starting")
        assert status.status == 200


async def test_health_check_of_the_image_passes() -> None:
    """The command in the Dockerfile, against a worker on another than the default port."""
    dockerfile = (Path(__file__).parents[2] / "Dockerfile").read_text()
    (command,) = re.findall(r"(?m)^  CMD (\[.*\])$", dockerfile)

    async with server() as side:
        check = await asyncio.create_subprocess_exec(
            sys.executable,
            *json.loads(command)[1:],
            env={**os.environ, "OURVIDZ_SERVER__PORT": str(side.port)},
        )
        healthy = await asyncio.wait_for(check.wait(), 60)

    assert healthy == 0


async def test_taken_port_is_explained() -> None:
    """The operator reads a sentence with the port, and no chain of causes."""
    async with server() as first:
        with pytest.raises(PortInUseError, match=f"^port {first.port} is in use: ") as caught:
            async with server(first.port):
                pass

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("key", [b"\xff\xfe", b"\xc3", "schlüssel".encode("latin-1")])
async def test_key_that_is_no_text_is_wrong(key: bytes) -> None:
    """Bytes that no client library would send are a wrong key, not a defect."""
    async with server(api_key="schlüssel") as side:
        reader, writer = await asyncio.open_connection(LOOPBACK, side.port)
        writer.write(
            b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: "
            + key
            + b"\r\n\r\n"
        )
        head, _, body = (await asyncio.wait_for(reader.read(), 60)).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    assert head.startswith(b"HTTP/1.1 401 ")
    assert json.loads(body)["error_code"] == "UNAUTHORIZED"


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
