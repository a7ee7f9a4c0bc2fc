"""Looks after one engine from its start on: pings it, and tells when it hangs.

It works by timers and not by a task of its own, so that nothing is left to be awaited.
"""

import asyncio
from collections.abc import Callable

from daemon.engines.figures import Activity
from daemon.engines.heartbeat import Heartbeats
from daemon.engines.limits import HealthLimits


class Watch:
    """The clock's side of `Heartbeats`. Before `start` and after `stop` nothing is watched.

    Args:
        limits: when the engine is taken for hung.
        ping: sends it a ping.
        hung: told once, with the reason.
    """

    def __init__(
        self, limits: HealthLimits, ping: Callable[[], None], hung: Callable[[str], None]
    ) -> None:
        self._limits = limits
        self._ping = ping
        self._hung = hung
        self._beats: Heartbeats | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._beats = Heartbeats(self._limits, _now())
        self._set_timer(self._beats)

    def stop(self) -> None:
        """Watch no longer."""
        self._beats = None
        if self._timer is not None:
            self._timer.cancel()

    def move_begun(self, deed: str) -> None:
        """Note that weights begin to come or go."""
        if self._beats is not None:
            self._beats.move_begun(deed)

    def move_ended(self) -> None:
        """Note that weights are where they are wanted."""
        if self._beats is not None:
            self._beats.move_ended()

    def measured(self, activity: Activity | None) -> None:
        """Note what the engine has done so far, if it says so."""
        if self._beats is not None and activity is not None:
            self._beats.measured(activity, _now())

    def begun(self, run_id: str, handler: str) -> None:
        """Note the beginning of a run."""
        if self._beats is not None:
            self._beats.begun(run_id, handler, _now())

    def step(self, run_id: str, step: str) -> None:
        """Note a step of a run."""
        if self._beats is not None:
            self._beats.step(run_id, step, _now())

    def ended(self, run_id: str) -> None:
        """Note the end of a run."""
        if self._beats is not None:
            self._beats.ended(run_id, _now())

    def heard(self) -> None:
        """Note that something came from the engine."""
        if self._beats is not None:
            self._beats.heard()

    def _set_timer(self, beats: Heartbeats) -> None:
        self._timer = asyncio.get_running_loop().call_later(
            self._limits.look_every_s, self._look, beats
        )

    def _look(self, beats: Heartbeats) -> None:
        if (reason := beats.look(_now())) is not None:
            self.stop()
            self._hung(reason)
            return
        if beats.ping_due(_now()):
            self._ping()
        self._set_timer(beats)


def _now() -> float:
    return asyncio.get_running_loop().time()
