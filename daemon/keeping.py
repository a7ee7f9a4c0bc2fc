"""Keeps what the scheduler has learned: from parts to parts at a reload, and on disk for a restart.

    file -> kept -> scheduler      when parts are built: of models whose origin is what it was
    file <- kept <- scheduler      every minute, and when parts end

The disk is read and written in threads. Nothing here stops a worker: without the file it learns
anew, and what can't be written is told once.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from daemon.learned_file import NAME, Learned, LearnedFileError, read_learned, write_learned
from daemon.origins import Origin, differences, origins_of
from daemon.scheduling.figures import Figures, Learner
from daemon.settings import Settings

_log = logging.getLogger("daemon.keeping")

EVERY_S = 60.0
"""Between two looks: what a power cut may cost."""


class Keeper:
    """Holds what was learned of each model, whoever learned it.

    Args:
        folder: where the file is, `state_dir`.
        every_s: seconds between two looks at what was learned.
    """

    def __init__(self, folder: Path, *, every_s: float = EVERY_S) -> None:
        self._folder = folder.expanduser()
        self._every_s = every_s
        self._kept: dict[str, Learned] = {}
        self._figures: dict[str, Figures] = {}
        self._unwritten = False
        self._complained = False

    async def read(self) -> None:
        """Read the file, if there is one that can be used."""
        try:
            self._kept = await asyncio.to_thread(read_learned, self._folder)
        except LearnedFileError as error:
            _log.warning(
                "what was learned before is ignored, and begins anew: %s: %s",
                self._folder / NAME,
                error,
            )

    @asynccontextmanager
    async def learning(self, learner: Learner, settings: Settings) -> AsyncIterator[None]:
        """Give a learner what is known, and keep what it learns for the time of the block."""
        origins = await asyncio.to_thread(origins_of, settings)
        self._give(learner, origins)
        over = asyncio.Event()
        keeping = asyncio.create_task(self._keep_on(learner, origins, over), name="keep figures")
        try:
            yield
        finally:
            # Not cancelled: a thread that writes can't be.
            over.set()
            await keeping

    def since(self) -> dict[str, str]:
        """Return when the first figure was learned of each model that the learner has some of."""
        return {
            model: self._kept[model].since.isoformat(timespec="seconds") for model in self._figures
        }

    def _give(self, learner: Learner, origins: Mapping[str, Origin]) -> None:
        given: dict[str, Figures] = {}
        for model in origins.keys() & self._kept.keys():
            learned = self._kept[model]
            if changed := differences(learned.origin, origins[model]):
                _log.info("learned figures of %s begin anew: %s", model, "; ".join(changed))
            else:
                given[model] = learned.figures()
        learner.recall(given)
        self._figures = learner.figures()
        if given:
            _log.info("figures learned before are taken up: %s", ", ".join(sorted(given)))

    async def _keep_on(
        self, learner: Learner, origins: Mapping[str, Origin], over: asyncio.Event
    ) -> None:
        last = False
        while not last:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await over.wait()
            last = over.is_set()
            self._take(learner, origins)
            if self._unwritten:
                await self._write()

    def _take(self, learner: Learner, origins: Mapping[str, Origin]) -> None:
        """Take what is new."""
        figures, now = learner.figures(), datetime.now(UTC)
        for model, learned in figures.items():
            if learned == self._figures.get(model):
                continue
            before = self._kept.get(model)
            same = before is not None and before.origin == origins[model]
            since = before.since if before is not None and same else now
            self._kept[model] = Learned.of(learned, since, origins[model])
            self._unwritten = True
        self._figures = figures

    async def _write(self) -> None:
        learned = {model: self._kept[model] for model in self._figures}
        try:
            await asyncio.to_thread(_write, self._folder, learned)
        except OSError as error:
            if not self._complained:
                _log.warning(
                    "what is learned can't be kept in %s, and is lost at a restart: %s",
                    self._folder,
                    error.strerror or error,
                )
            self._complained = True
        else:
            self._unwritten = self._complained = False


def _write(folder: Path, learned: Mapping[str, Learned]) -> None:
    """Write them beside what another worker of this host has learned of other models."""
    try:
        others = read_learned(folder)
    except LearnedFileError:
        others = {}
    write_learned(folder, {**others, **learned})
