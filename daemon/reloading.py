"""SIGHUP: the settings are read again and taken up, without a restart and without losing a job.

    read -> wrong: every problem is logged, and the worker goes on as before
      |---> of the process (port, name): logged; they need a restart
      |---> all the rest can change in place: changed at once
      '---> else: take no more, finish what runs, build the parts anew, take jobs

The last way first asks another database or storage whether it would have this worker, so that a
mistake costs no drain. Engines whose model and devices are as before live on in the new parts; the
others end with the old ones, and start when their model is needed.
"""

import asyncio
import gc
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from daemon.changes import Changes, changes, same_models, without_restart
from daemon.engine_ports import KeptEngine
from daemon.log_settings import configure_logs, learn_secrets
from daemon.reporting import DaemonReports
from daemon.scheduling.models import DeviceSpec
from daemon.server.reports import ModelState, Phase
from daemon.settings import Settings, SettingsError
from daemon.stopping import Stopping
from daemon.telemetry.systemd import Systemd

if TYPE_CHECKING:
    from daemon.parts import Parts

_log = logging.getLogger("daemon.reloading")

STATUS = "taking jobs"

Reread = Callable[[], Settings]
"""Reads the settings as at the start; raises `SettingsError`."""


class Reloader:
    """Decides when the parts are built anew, and holds what lives on meanwhile.

    Leaving the block stops engines that nobody has taken over.

    Args:
        reports: holds the settings in force.
        devices: what the parts are built with.
        stopping: says when a reload is asked for.
        systemd: is told of it.
        reread: None: there is nothing to be read again.
    """

    def __init__(
        self,
        reports: DaemonReports,
        devices: tuple[DeviceSpec, ...],
        stopping: Stopping,
        systemd: Systemd,
        reread: Reread | None,
    ) -> None:
        self.devices = devices
        self.settings = reports.settings
        """What the next parts are to be built by."""
        self.rebuilding = False
        """The parts are to be built anew, or are just being."""
        self._reports = reports
        self.stopping = stopping
        self._systemd = systemd
        self._reread = reread
        self._keep: frozenset[str] = frozenset()
        self._kept: list[KeptEngine] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        kept, self._kept = self._kept, []
        await asyncio.gather(*(each.engine.stop() for each in kept))

    def taking_jobs(self) -> None:
        """Tell systemd that the start, or the reload, is over."""
        self._systemd.ready(STATUS)

    def between(self) -> None:
        """Show that the old parts are gone, and by which settings the new ones come."""
        reports = self._reports
        for model in reports.settings.enabled_models.keys() - self.settings.enabled_models.keys():
            reports.metrics.model_state(model, ModelState.UNLOADED)
        reports.parts, reports.phase, reports.settings = None, Phase.STARTING, self.settings

    async def claim(self, parts: "Parts") -> None:
        """Let the parts claim jobs until the worker stops, or `rebuilding` is set."""
        leave = asyncio.Event()
        drains = parts.admissions.drain, parts.answering.drain
        with self.stopping.telling(leave.set, parts.intake.wake.set, *drains):
            watching = asyncio.create_task(self._watch(parts, leave), name="wait for a reload")
            try:
                await parts.intake.run_until(leave)
            finally:
                watching.cancel()
                await asyncio.wait({watching})

    def adopt(self, parts: "Parts") -> None:
        """Give new parts, whose pool is entered, the engines that were kept."""
        kept, self._kept = self._kept, []
        if self.rebuilding:
            # The old parts were kept out of the collector's rounds, and are garbage now.
            gc.unfreeze()
            gc.collect()
        self.rebuilding = False
        parts.admissions.adopt(kept)

    async def keep_engines(self, parts: "Parts") -> None:
        """Take the engines out of a drained worker's pool that live on; first all must be idle."""
        wake, soft = parts.intake.wake, self.stopping.soft
        with self.stopping.telling(wake.set):
            while parts.admissions.busy and not soft.is_set():
                wake.clear()
                await wake.wait()
        if soft.is_set():
            return
        wanted = [key for key in parts.admissions.idle() if key[0] in self._keep]
        self._kept = parts.pool.hand_over(wanted)
        _log.info("engines that live on: %s", _listed([each.model for each in self._kept]))

    async def _watch(self, parts: "Parts", leave: asyncio.Event) -> None:
        while True:
            await self.stopping.reload.wait()
            self.stopping.reload.clear()
            self._systemd.reloading("reading the settings")
            status = STATUS
            try:
                await self._reload(parts)
            except SettingsError as error:
                for line in str(error).splitlines():
                    _log.error("settings not taken up: %s", line)
                status = "taking jobs by the old settings: the new ones are wrong, see the log"
            except Exception:  # noqa: BLE001 -- a defect here must not cost the worker its jobs
                _log.exception("settings not taken up")
            if self.rebuilding:
                leave.set()
                parts.admissions.drain()
                parts.answering.drain()
                parts.intake.wake.set()
                return
            self._systemd.ready(status)

    async def _reload(self, parts: "Parts") -> None:
        """Take new settings up in place, or set `rebuilding`; raises SettingsError."""
        from daemon.taking_up import apply_in_place, objections

        if self._reread is None:
            return
        old, read = self.settings, await asyncio.to_thread(self._reread)
        learn_secrets(read)
        found, new = changes(old, read), without_restart(old, read)
        if wrong := await objections(old, new, rebuild=bool(found.rebuild)):
            raise SettingsError("\n".join(wrong))
        _tell(found)
        if found.rebuild:
            await self._prepare(old, new)
        else:
            apply_in_place(parts, new)
            self._reports.settings = new
        self.settings = new

    async def _prepare(self, old: Settings, new: Settings) -> None:
        from daemon.taking_up import devices_for

        devices = await devices_for(new)
        self._keep = same_models(old, new) if devices == self.devices else frozenset()
        self.devices, self.rebuilding = devices, True
        configure_logs(new)
        self._systemd.status("finishing jobs, then taking up other settings")


def _tell(found: Changes) -> None:
    if found.restart:
        _log.warning("these settings need a restart: %s", _listed(found.restart))
    if found.rebuild:
        _log.info("reloading: jobs that run are finished first, since %s", _listed(found.rebuild))
    elif found.in_place:
        _log.info("settings taken up: %s", _listed(found.in_place))
    else:
        _log.info("settings read: they are as before")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
