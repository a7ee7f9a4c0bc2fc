"""What the engine has to say, in order, with steps coalesced so that a fast loop can't flood.

Of a run's steps that wait the latest is sent, with the text of all of them.
"""

import asyncio
import contextlib
import threading
from collections import deque

from daemon.engines import protocol

_STEP_PAUSE_S = 0.01
"""Between two batches of steps; results don't wait for it."""


class Outbox:
    """Sends messages in the order in which they were posted; of each run's steps, the latest.

    `step` may be called from any thread, everything else on the loop's own.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._steps: dict[str, protocol.Step] = {}
        self._frames: deque[bytes] = deque()
        self._waiting = asyncio.Event()
        self._urgent = asyncio.Event()
        self._sent = asyncio.Event()

    def step(self, step: protocol.Step) -> None:
        """Note a step; it takes the place of one of the same run that wasn't sent yet."""
        with self._lock:
            first = not self._steps
            unsent = self._steps.get(step.run_id)
            self._steps[step.run_id] = step if unsent is None else step.after(unsent)
        if first:
            # The loop is closed when the engine is ending: nobody listens any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._waiting.set)

    def post(self, message: protocol.FromEngine) -> None:
        """Send a message after all that came before; raises `ProtocolError` if it can't be."""
        self._frames.append(protocol.encode(message))
        self._sent.clear()
        self._waiting.set()
        self._urgent.set()

    async def send_forever(self) -> None:
        """Send what comes, at the pace at which the daemon reads."""
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            self._urgent.clear()
            self._writer.writelines(self._collect())
            await self._writer.drain()
            if not self._frames:
                self._sent.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STEP_PAUSE_S):
                    await self._urgent.wait()

    async def sent(self) -> None:
        """Wait until every posted message is on its way."""
        if self._frames:
            await self._sent.wait()
        await self._writer.drain()

    def _collect(self) -> list[bytes]:
        """Take all frames: steps first, since a run's end comes after its last step."""
        with self._lock:
            steps, self._steps = self._steps, {}
        frames = [protocol.encode(step) for step in steps.values()]
        frames += self._frames
        self._frames.clear()
        return frames
