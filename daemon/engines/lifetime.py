"""The life of an engine process, from its start until nothing of its group is left.

    start --> messages both ways --> the leader ends --> the rest is killed --> over

Whatever ends it (`stop`, `kill`, a crash, the kernel), `over` is set only when no process of the
group lives, so that the memory it held can be counted as free. `lost` is set before that where a
process can't even be killed, as one that waits in a driver: its jobs needn't wait with it.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping

from daemon.engines import protocol
from daemon.engines.group import Child, gone, signal_group, start_group, words_of_exit
from daemon.engines.losses import loss_of_exit
from daemon.engines.surroundings import engine_command
from daemon.engines.waiting import set_within, uninterrupted
from daemon.values import Loss

_READ_BYTES = 2**20
_TERM_GRACE_S = 2.0
_EXIT_GRACE_S = 1.0
_LAST_FRAMES_S = 5.0
FATAL_GRACE_S = 10.0
"""For an engine that said it ends. With a broken driver even an exit may hang."""

UNKILLABLE_S = 20.0
"""So long after SIGKILL nothing more is expected of a process that still lives."""


class Lifetime:
    """One engine process and the connection to it.

    Args:
        take: called with each message, in order, also with those sent just before a crash.
        at_end: called once when it is lost or over.
        log: takes each line of the engine's output.
    """

    def __init__(
        self,
        take: Callable[[protocol.FromEngine], None],
        at_end: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        self._take = take
        self._at_end = at_end
        self._log = log
        self._writer: asyncio.StreamWriter | None = None
        self._living: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._killed: asyncio.TimerHandle | None = None
        self.child: Child | None = None
        self._group_lives = True
        """Until it is gone nobody else's processes can have its number."""
        self.cause = ""
        """Why it ends or ended, as a predicate; the first cause is the one that is told."""
        self.loss = Loss.CRASHED
        self.lost = asyncio.Event()
        """Nothing more comes of it; set at the latest when it is over."""
        self.over = asyncio.Event()

    def start(self, environment: Mapping[str, str], first: protocol.Load) -> None:
        """Start the process and tell it what to load; errors show as the cause of its end."""
        self._living = asyncio.create_task(self._live(environment, first), name="engine")

    @property
    def started(self) -> bool:
        """Whether it was ever started."""
        return self._living is not None

    def send(self, frame: bytes) -> None:
        """Send a frame; one that a dying engine no longer reads is lost."""
        if self._writer is not None:
            self._writer.write(frame)

    def blame(self, loss: Loss, cause: str) -> None:
        """Say why it ends, unless that was said before."""
        if not self.cause:
            self.loss, self.cause = loss, cause

    def kill(self, loss: Loss, cause: str) -> None:
        """End it at once."""
        self.blame(loss, cause)
        self._signal(signal.SIGKILL)

    def ends_itself(self, loss: Loss, cause: str) -> None:
        """Hear that it is about to end; one that doesn't is killed."""
        self.blame(loss, cause)
        if self._patience is None:
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(FATAL_GRACE_S, self._signal, signal.SIGKILL)

    async def stop(self, cause: str, grace_s: float) -> None:
        """End it by a word, then by SIGTERM, then by SIGKILL; return when it is over."""
        self.blame(Loss.STOPPED, cause)
        if self._living is None:
            self.lost.set()
            self.over.set()
            return
        self.send(protocol.encode(protocol.Shutdown()))
        try:
            if not await set_within(self.over, grace_s):
                self._signal(signal.SIGTERM)
                await set_within(self.over, min(grace_s, _TERM_GRACE_S))
        finally:
            self._signal(signal.SIGKILL)
            await self.finished()

    async def finished(self) -> None:
        """Wait until it is over, even when cancelled."""
        if self._living is not None:
            await uninterrupted(self._living)

    def _signal(self, number: signal.Signals) -> None:
        if self.child is not None and self._group_lives:
            signal_group(self.child.group, number)
            if number is signal.SIGKILL and self._killed is None:
                loop = asyncio.get_running_loop()
                self._killed = loop.call_later(UNKILLABLE_S, self._give_up)

    def _give_up(self) -> None:
        self.cause = f"{self.cause or 'was killed'}, and can't be ended"
        self._lose()

    def _lose(self) -> None:
        if not self.lost.is_set():
            self.lost.set()
            self._at_end()

    async def _live(self, environment: Mapping[str, str], first: protocol.Load) -> None:
        lifeline, held = os.pipe()
        try:
            child, reader = await self._connect(environment, lifeline)
            self.send(protocol.encode(first))
            await self._until_gone(child, reader)
        except OSError as error:
            self.blame(Loss.CRASHED, f"could not be started: {error}")
        finally:
            self._signal(signal.SIGKILL)
            # Held until now: that it closes is what tells the group that the daemon is dead.
            os.close(held)
            if self._writer is not None:
                self._writer.close()
            for timer in (self._patience, self._killed):
                if timer is not None:
                    timer.cancel()
            self.over.set()
            self._lose()

    async def _connect(
        self, environment: Mapping[str, str], lifeline: int
    ) -> tuple[Child, asyncio.StreamReader]:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                descriptors = [theirs.fileno(), lifeline]
                child = await start_group(
                    engine_command(*descriptors), environment, descriptors, self._log
                )
            self.child = child
            if self.cause:
                # It was stopped while it started, when there was nothing to send a signal to.
                self._signal(signal.SIGKILL)
            reader, self._writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(lifeline)
        return child, reader

    async def _until_gone(self, child: Child, reader: asyncio.StreamReader) -> None:
        reading = asyncio.create_task(self._read(child, reader), name="engine messages")
        try:
            await child.exited.wait()
            if child.returncode is not None:
                self.blame(loss_of_exit(child.returncode), words_of_exit(child.returncode))
            await gone(child.group)
            self._group_lives = False
            await asyncio.wait({reading}, timeout=_LAST_FRAMES_S)
            await child.close()
        finally:
            reading.cancel()

    async def _read(self, child: Child, reader: asyncio.StreamReader) -> None:
        frames = protocol.reader_of_engine()
        broken = "closed its connection"
        try:
            while data := await reader.read(_READ_BYTES):
                for message in frames.feed(data):
                    self._take(message)
            frames.end()
        except (protocol.ProtocolError, ConnectionError) as error:
            broken = f"broke the connection: {error}"
        # A process that dies breaks its connection too, in the middle of a frame perhaps: how it
        # ended says more.
        if not await set_within(child.exited, _EXIT_GRACE_S):
            self.kill(Loss.CRASHED, broken)
