"""A daemon that says what a test wants, and the side server before it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from daemon.job_types import Model
from daemon.sections import ServerSettings
from daemon.server.access import Served
from daemon.server.app import build_app
from daemon.server.protection import Protection
from daemon.server.reports import (
    DeviceReport,
    Health,
    LeaseReport,
    ModelReport,
    ModelState,
    Phase,
    Status,
    StoreReport,
)
from daemon.telemetry.gpu import GpuSample
from daemon.telemetry.host import HostSample
from daemon.telemetry.stats import Performance
from daemon.values import Backlog

GIB = 2**30

HEALTHY = Health(
    worker_type="chat",
    phase=Phase.SERVING,
    uptime_s=3600.7,
    active_jobs=2,
    models={Model.CHAT: ModelReport("Qwen2.5-7B-Instruct", ModelState.LOADED, 0, 3 * GIB)},
    gpus=(GpuSample(0, "RTX 6000 Ada", 45.2, int(8.5 * GIB), 48 * GIB, 61.0),),
    devices=(DeviceReport(0, False, 48 * GIB, GIB, 3 * GIB, GIB),),
)

BUSY = Status(
    health=HEALTHY,
    worker_id="gpu-1",
    version="0.1.0",
    performance=Performance(150, 3, 18.5, 98.0),
    host=HostSample(200 * 2**20, int(25.3 * GIB), 100 * GIB),
    store=StoreReport("postgres", last_ok_s=0.4, calls=900),
    leases=LeaseReport(held=2),
    queue=(Backlog("chat", 4, 2, 1.5),),
    scheduler={"waiting": 1},
    wakeups={"realtime": {"ready": True}},
    counters={"sweeps": 12},
)


@dataclass
class Daemon:
    """Reports that a test can change, or make raise."""

    told: Status = BUSY
    against: Sequence[str] = ()
    defect: Exception | None = None
    extra_routes: list[web.AbstractRouteDef] = field(default_factory=list)

    def health(self) -> Health:
        if self.defect:
            raise self.defect
        return self.told.health

    def ready(self) -> tuple[bool, Sequence[str]]:
        return not self.against, self.against

    def status(self) -> Status:
        if self.defect:
            raise self.defect
        return self.told

    def exposition(self) -> bytes:
        return b"ourvidz_ready 1.0\n"

    def is_now(self, **changes: Any) -> None:
        """Change fields of what `/health` shows."""
        self.told = replace(self.told, health=replace(self.told.health, **changes))


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


Client = TestClient[Any, Any]
Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
async def connect(daemon: Daemon) -> AsyncIterator[Connect]:
    """Start the application on a free port and return a client of it."""
    clients: list[Client] = []

    async def connect(
        api_key: str | None = None,
        clock: Callable[[], float] = lambda: 0.0,
        served: Served | None = None,
        **settings: Any,
    ) -> Client:
        server = ServerSettings.model_validate({"api_key": api_key, **settings})
        protection = Protection(server, clock=clock, served=served)
        app = build_app(daemon, protection=protection, routes=daemon.extra_routes)
        client: Client = TestClient(TestServer(app))
        await client.start_server()
        clients.append(client)
        return client

    yield connect
    for client in clients:
        await client.close()
