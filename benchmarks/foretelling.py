"""Promised ends: how many are kept, by how much they are wrong, and what a forecast costs.

    python benchmarks/foretelling.py [coverage] [cost]

- coverage: the shipped models on one device of 24 GB in virtual time, arrivals of all kinds; runs
  take up to 25 % more or less than expected, loads up to 30 %; a look each 3 s
- cost: 8 models on 4 devices, so many jobs held and in the table; CPU time of this thread, and the
  longest time for which the event loop was held
"""

import argparse
import asyncio
import gc
import random
import time
from collections.abc import Callable
from statistics import median

from scheduling import crowd

from daemon.foretelling import NEWS_S, NEWS_SHARE, Foreteller
from daemon.model_specs import specs_from
from daemon.scheduling.calibration import Calibration
from daemon.scheduling.commands import LoadModel, OffloadModel, UnloadModel
from daemon.scheduling.forecast import forecast_of, foresee
from daemon.scheduling.models import GIB, DeviceSpec
from daemon.scheduling.policy import IndexPolicy
from daemon.scheduling.scheduler import Scheduler
from daemon.scheduling.virtual import VirtualHost
from daemon.serving import GC_THRESHOLD
from daemon.settings import load_settings
from daemon.values import AdmissionRequest, Loaded

LOOK_EVERY_S = 3.0
PACE_FROM = 0.1
KINDS = (
    [("chat", "fast")] * 6
    + [("sdxl", "fast")] * 5
    + [("sdxl", "high")] * 2
    + [("wan", "fast")] * 4
    + [("wan", "high")]
    + [("video", "fast")] * 2
)


class World:
    """A host whose acts take what they take; implements `virtual.Script`."""

    def __init__(self, scheduler: Scheduler, draw: random.Random) -> None:
        self.scheduler = scheduler
        self.draw = draw
        self.takes_s: dict[str, float] = {}
        self.began_s: dict[str, float] = {}
        self.ends_s: dict[str, float] = {}

    def run_s(self, request_id: str) -> float:
        """Return what was drawn."""
        return self.takes_s[request_id]

    def move_s(self, command: LoadModel | OffloadModel | UnloadModel, *, restoring: bool) -> float:
        """Draw what a move takes."""
        del restoring
        model = self.scheduler.state.models[command.model]
        expected_s = model.load_s if isinstance(command, LoadModel) else 1.0
        return expected_s * self.draw.uniform(0.7, 1.3)

    def loaded(self, model: str, device: int) -> Loaded:
        """Bring what was expected."""
        del device
        return Loaded(self.scheduler.state.estimates.weights(model), 0.0)

    def started(self, request_id: str, device: int, now: float, ends_s: float) -> None:
        """Note it."""
        del device
        self.began_s[request_id], self.ends_s[request_id] = now, ends_s

    def refused(self, request_id: str) -> None:
        """Everything fits here."""
        raise AssertionError(f"{request_id} is refused")


class Promises:
    """What rows are told, as `Foreteller` tells them, and what becomes of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.waiting, self.running = Calibration(), Calibration()
        self.told = 0
        self.errors: list[float] = []
        self._first: dict[str, tuple[float, float, float, Calibration]] = {}
        self._row: dict[str, float] = {}
        self._looks: dict[str, list[tuple[float, float]]] = {}

    def look(self, held: dict[str, float], now: float) -> None:
        """Make a forecast and tell the rows; runs know their ends from `PACE_FROM` on."""
        world = self.world
        for request_id, began_s in world.began_s.items():
            if request_id in held and now - began_s > PACE_FROM * world.takes_s[request_id]:
                world.scheduler.expect_end(request_id, world.ends_s[request_id])
        foreseen = forecast_of(world.scheduler, now)
        for request_id in held.keys() & foreseen.ends_s.keys():
            by = self.running if request_id in world.began_s else self.waiting
            expected_s = max(0.0, foreseen.ends_s[request_id] - now)
            promised_s = expected_s * by.factor
            self._first.setdefault(request_id, (now, expected_s, promised_s, by))
            self._tell(request_id, now, now + promised_s)

    def _tell(self, request_id: str, now: float, ends_s: float) -> None:
        before = self._row.get(request_id)
        if before is None or abs(ends_s - before) > max(NEWS_S, NEWS_SHARE * (ends_s - now)):
            self._row[request_id] = ends_s
            self.told += 1
        self._looks.setdefault(request_id, []).append((now, self._row[request_id]))

    def ended(self, request_id: str) -> None:
        """Hold its promises against its end."""
        end_s = self.world.ends_s[request_id]
        if request_id in self._first:
            made_s, expected_s, promised_s, by = self._first[request_id]
            by.observe(expected_s, promised_s, end_s - made_s)
        self.errors += [
            abs(told_s - end_s) / (end_s - at_s)
            for at_s, told_s in self._looks.pop(request_id, [])
            if end_s - at_s > NEWS_S
        ]


def coverage(per_hour: int, hours: int, seed: int) -> None:
    """Let a day's part pass, and print how its promises fared."""
    draw = random.Random(seed)
    specs = specs_from(load_settings().models)
    scheduler = Scheduler(specs, [DeviceSpec(0, 24 * GIB, GIB)], max_pass_over_s=900)
    world = World(scheduler, draw)
    host, promises = VirtualHost(scheduler, world), Promises(world)
    arrivals = sorted(draw.uniform(0, hours * 3600) for _ in range(per_hour * hours))
    held: dict[str, float] = {}
    now, number = 0.0, 0
    while number < len(arrivals) or held:
        now += LOOK_EVERY_S
        while number < len(arrivals) and arrivals[number] <= now:
            _until(host, arrivals[number])
            _arrive(host, world, held, str(number))
            number += 1
        _until(host, now)
        for request_id in [name for name in held if world.ends_s.get(name, now + 1) <= now]:
            promises.ended(request_id)
            del held[request_id]
        if held:
            promises.look(held, now)
    kept = promises.waiting.kept + promises.running.kept
    share = kept / (promises.waiting.promised + promises.running.promised)
    print(
        f"{per_hour:4}/h: kept {share:.3f} "
        f"(told waiting {promises.waiting.coverage or 0:.3f}, running "
        f"{promises.running.coverage or 0:.3f}); wrong by {median(promises.errors):.3f} of what is "
        f"left, median; {promises.told / len(arrivals):.1f} writes a job"
    )


def _until(host: VirtualHost, now: float) -> None:
    while host.step(now):
        pass
    host.now = now


def _arrive(host: VirtualHost, world: World, held: dict[str, float], name: str) -> None:
    model, quality = world.draw.choice(KINDS)
    expected_s = world.scheduler.state.durations.runs[model, quality].table_s
    world.takes_s[name] = expected_s * world.draw.uniform(0.75, 1.25)
    user = f"user {world.draw.randrange(6)}"
    request = AdmissionRequest(name, model, quality, user, host.now)
    held[name] = host.now
    host.carry_out(world.scheduler.submit(request, host.now))


async def cost(held: int, in_table: int) -> None:
    """Make one forecast as the daemon does, beside somebody who wants his turn."""
    scheduler, now = crowd(8, 4, held, IndexPolicy(900.0)), held + 1.0
    classes = [lane.key for lane in scheduler.state.lanes if not lane.interactive]
    scheduler.count_unclaimed(dict.fromkeys(classes, in_table // len(classes)), now)
    foreteller = Foreteller(
        lambda: foresee(scheduler, now), {}, lambda _: None, lambda: now, lambda: True
    )
    holds_s: list[float] = []
    ticking = asyncio.create_task(_tick(holds_s.append))
    await asyncio.sleep(0.05)
    holds_s.clear()
    looking = asyncio.create_task(foreteller.run())
    while foreteller.last is None:
        await asyncio.sleep(0.01)
    for task in (looking, ticking):
        task.cancel()
    print(
        f"{held:5,} held, {in_table:6,} in the table: {sum(holds_s) * 1e3:4.0f} ms in all, "
        f"longest hold {max(holds_s) * 1e3:.1f} ms"
    )


async def _tick(held: Callable[[float], None]) -> None:
    while True:
        before_s = time.thread_time()
        await asyncio.sleep(0.0005)
        held(time.thread_time() - before_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=["coverage", "cost", []], default=[])
    wanted = parser.parse_args().parts or ["coverage", "cost"]
    if "coverage" in wanted:
        for per_hour in (50, 100, 200):
            coverage(per_hour, hours=6, seed=1)
    if "cost" in wanted:
        # As the daemon does.
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 50, 100)
        for held in (8, 64, 200):
            for in_table in (1_000, 10_000):
                asyncio.run(cost(held, in_table))


if __name__ == "__main__":
    main()
