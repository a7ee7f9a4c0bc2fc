"""This host: room on its disks, the state folder, and the port."""

import asyncio
import os
import shutil
import socket
from pathlib import Path
from uuid import uuid4

import httpx

from daemon.doctor.findings import Finding, failed, ok, warning
from daemon.sections import GIB
from daemon.server.service import bind_host
from daemon.settings import Settings, SettingsError

_LITTLE_GB = 5.0
_NOTHING_GB = 0.5


async def look(settings: Settings) -> list[Finding]:
    """Return a finding for each."""
    found = await asyncio.to_thread(_folders, settings)
    return [*found, await _port(settings)]


def _folders(settings: Settings) -> list[Finding]:
    state = settings.state_dir.expanduser().absolute()
    found = [_writable(state)]
    disks = {state}
    if settings.artifacts.kind == "local":
        disks.add(settings.artifacts.folder.expanduser().absolute())
    return found + [_room(folder) for folder in sorted(disks)]


def _writable(folder: Path) -> Finding:
    probe = folder / f".doctor-{uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return failed(
            "state folder", f"{folder} can't be written: {error.strerror}", "set OURVIDZ_STATE_DIR"
        )
    return ok("state folder", f"{folder} can be written")


def _room(folder: Path) -> Finding:
    there = next((each for each in (folder, *folder.parents) if each.exists()), Path("/"))
    free = shutil.disk_usage(there).free / GIB
    seen = f"{free:.1f} GB free for {folder}"
    advice = "make room, or choose another disk"
    if free < _NOTHING_GB:
        return failed("disk", seen, advice)
    if free < _LITTLE_GB:
        return warning("disk", seen, advice)
    return ok("disk", seen)


async def _port(settings: Settings) -> Finding:
    port = settings.server.port
    try:
        host = bind_host(settings.server)
    except SettingsError as error:
        return failed("port", str(error), "set WORKER_API_KEY")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As the server does: a port that was just left is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if await _is_worker(port):
                return warning(
                    "port",
                    f"a worker answers on port {port}",
                    "fine if it is this one; another one needs server.port (OURVIDZ_SERVER__PORT)",
                )
            reason = os.strerror(error.errno or 0)
            advice = "stop the other program, or set server.port (OURVIDZ_SERVER__PORT)"
            return failed("port", f"{host} port {port}: {reason}", advice)
    return ok("port", f"{host} port {port} is free" if port else "any free port is taken")


async def _is_worker(port: int) -> bool:
    try:
        client = await asyncio.to_thread(httpx.AsyncClient, timeout=3)
        async with client:
            answer = await client.get(f"http://127.0.0.1:{port}/health")
        return "architecture" in answer.json()
    except (httpx.HTTPError, ValueError, TypeError):
        return False
