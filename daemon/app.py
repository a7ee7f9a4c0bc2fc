"""The one root: starts everything, nests lifetimes, and stops in the opposite order.

side server                  answers /health from the first moment
identity                   the name is ours on this host
parts                    built by the settings, and anew after a reload that asks for it
services, engine pool, executor, intake: see `serving`
"""

import asyncio
import importlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from aiohttp import web

from daemon.devices import find_devices
from daemon.feed import Feed
from daemon.identity import identity
from daemon.log_settings import configure_logs
from daemon.outside import missing_libraries, outside
from daemon.preflight import problems
from daemon.reloading import Reloader, Reread
from daemon.reporting import DaemonReports
from daemon.server.app import build_app
from daemon.server.chat_health import chat_health_routes
from daemon.server.desk import Desk
from daemon.server.documentation import Documentation
from daemon.server.events import EventStreams
from daemon.server.inference import inference_routes
from daemon.server.jobs import JobRoutes
from daemon.server.looks import Looks
from daemon.server.protection import Protection
from daemon.server.service import (
    BindError,
    PortInUseError,
    SideServer,
    bind_host,
    connection_limits,
)
from daemon.serving import check, serve
from daemon.settings import Settings
from daemon.startup import NotYetError, StartupError
from daemon.stopping import Stopping
from daemon.telemetry.metrics import Metrics
from daemon.telemetry.systemd import Systemd

if TYPE_CHECKING:
    from daemon.parts import Parts

_log = logging.getLogger("daemon")

Ready = Callable[[int], None]
"""Called with the side server's port when jobs are taken."""


def routes_of(reports: DaemonReports, streams: EventStreams, desk: Desk) -> list[web.RouteDef]:
    """Return what is served beside the probes."""
    refuse_unknown = reports.settings.server.unknown_fields == "refuse"
    return [
        *streams.routes(),
        *JobRoutes(desk).routes(),
        *inference_routes(lambda: reports.settings, reports.answering, desk),
        *chat_health_routes(reports),
        *Documentation(reports.version, refuse_unknown=refuse_unknown).routes(),
    ]


@dataclass(frozen=True)
class Front:
    """What others see of the daemon, and what of it is there before its parts are."""

    reports: DaemonReports
    feed: Feed
    desk: Desk
    port: int
    on_ready: Ready | None

    def ready(self) -> None:
        """Tell that jobs are taken."""
        if self.on_ready is not None:
            self.on_ready(self.port)


async def run(
    settings: Settings, on_ready: Ready | None = None, reread: Reread | None = None
) -> None:
    """Run the worker until SIGINT or SIGTERM; a second signal skips the grace.

    SIGHUP has `reread` called, and what it returns taken up: see `reloading`.

    Raises:
        StartupError: with a message for the operator.
    """
    configure_logs(settings)
    if found := [*problems(settings), *missing_libraries(settings)]:
        raise StartupError("\n".join(found))
    this = version("ourvidz-worker")
    metrics = Metrics()
    metrics.started(settings.worker_type, this, time.time())
    reports = DaemonReports(settings, metrics, this)
    protection = Protection(settings.server, served=metrics.http.served)
    reports.keys = protection.keys
    feed, desk = Feed(), Desk()
    streams = EventStreams(feed, Looks(desk), counted=metrics.live.streams)
    routes = routes_of(reports, streams, desk)
    app = build_app(reports, protection=protection, routes=routes)
    app.on_shutdown.append(streams.stop)
    stopping = Stopping(reloads=reread is not None)
    try:
        host, port = bind_host(settings.server), settings.server.port
        limits = connection_limits(settings.server)
        async with SideServer(app, host, port, limits=limits) as server:
            with stopping.signals():
                front = Front(reports, feed, desk, server.port, on_ready)
                await _work(front, stopping, reread)
    except PortInUseError as error:
        raise NotYetError(str(error)) from error
    except BindError as error:
        raise StartupError(str(error)) from error


async def _work(front: Front, stopping: Stopping, reread: Reread | None) -> None:
    reports = front.reports
    settings = reports.settings
    # Half of the imports' time is the parts': in a thread, so that /health answers meanwhile.
    composition = await asyncio.to_thread(importlib.import_module, "daemon.building")
    from daemon.keeping import Keeper

    with identity(settings.worker_name, front.port, settings.state_dir) as worker:
        reports.worker_id = worker.worker_id
        systemd = Systemd.from_environment()
        systemd.status("waiting for the database")
        stopping.on_soft(lambda: systemd.stopping("draining"))
        # NVML blocks, and for long where a driver is ill.
        devices = await asyncio.to_thread(find_devices, settings)
        reloader = Reloader(reports, devices, stopping, systemd, reread)
        keeper = Keeper(settings.state_dir)
        await keeper.read()
        reports.learned_since = keeper.since
        async with systemd.watched(), reloader:
            while not stopping.soft.is_set():
                parts: Parts = composition.build(
                    reports.settings,
                    worker,
                    reloader.devices,
                    reports.metrics,
                    front.feed,
                    outside(reports, worker, stopping),
                )
                try:
                    await check(parts, reports, stopping)
                    front.desk.open(parts.store, parts.executor.cancel)
                    if not stopping.soft.is_set():
                        async with keeper.learning(parts.learner, reports.settings):
                            await serve(parts, reports, reloader, front.ready)
                finally:
                    await parts.aclose()
                if not reloader.rebuilding:
                    return
                reloader.between()
