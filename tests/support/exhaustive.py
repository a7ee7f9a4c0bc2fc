"""The optimum of tiny instances by trying everything, with a count of bytes of its own.

Whoever delays nothing for nothing begins something only at 0, when a job arrives, or when
something ends; so only these moments are looked at. In each, every set of beginnings is tried.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

from daemon.scheduling.simulation import World
from daemon.scheduling.trace import Trace

NEVER = 10**9


class Place(NamedTuple):
    """Where a model's weights are: a state that lasts, or an act that ends at `until`."""

    state: str = "disk"
    until: int = NEVER
    host: bool = False
    """The host's memory holds them."""
    fresh: bool = False
    """They came back from the host's memory, and nothing has run since: to leave is no use."""


ENDS = {"load": "ready", "unload": "disk", "offload": "host", "restore": "ready", "forget": "disk"}
ON_DEVICE = {"load", "ready", "unload", "offload", "restore"}


@dataclass(frozen=True)
class Moment:
    """All that counts for what may follow."""

    now: int
    places: tuple[Place, ...]
    runs: tuple[tuple[int, int, int], ...]
    """Job, device and end of each."""
    waiting: frozenset[int]


class Exhaustive:
    """One instance. Seconds and weights are whole numbers."""

    def __init__(self, trace: Trace, world: World) -> None:
        self.trace, self.world = trace, world
        self.names = [model.name for model in world.models]
        self.models = {model.name: model for model in world.models}
        self.keys = list(product(self.names, range(len(world.devices))))

    def cost(self) -> float:
        """Return the least sum of weighted times from arrival to end."""
        costs = self.world.costs
        around_s = costs.unload_s + max(costs.load_s.values()) + max(costs.restore_s.values())
        turns_s = sum(job.run_s + 2 * around_s for job in self.trace)
        self._over = 1 + max(job.arrives_s for job in self.trace) + turns_s
        self._best = float("inf")
        self._seen: dict[tuple[Moment, int], float] = {}
        places = tuple(Place() for _ in self.keys)
        self._try(Moment(0, places, (), frozenset(range(len(self.trace)))), 0, 0.0)
        return self._best - sum(job.weight * job.arrives_s for job in self.trace)

    def _try(self, moment: Moment, least: int, paid: float) -> None:
        """Try everything from here on; `paid` is the weighted sum of the ends so far.

        Beginnings at one moment are tried in one order only: those before `least` are over.
        """
        ahead = [self.trace[number] for number in moment.waiting]
        if not ahead:
            self._best = min(self._best, paid)
            return
        at_least = sum(job.weight * (max(moment.now, job.arrives_s) + job.run_s) for job in ahead)
        known = self._seen.get((moment, least), float("inf"))
        if paid + at_least >= self._best or known <= paid:
            return
        self._seen[moment, least] = paid
        for number, (following, more) in enumerate(self._beginnings(moment)):
            if number >= least and following is not None:
                self._try(following, number, paid + more)
        moments = [place.until for place in moment.places] + [run[2] for run in moment.runs]
        moments += [int(job.arrives_s) for job in ahead]
        later = min((when for when in moments if moment.now < when < self._over), default=None)
        if later is not None:
            self._try(self._at(moment, later), 0, paid)

    def _at(self, moment: Moment, now: int) -> Moment:
        places = tuple(self._settled(place) if place.until == now else place
                       for place in moment.places)  # fmt: skip
        return Moment(now, places, tuple(run for run in moment.runs if run[2] > now),
                      moment.waiting)  # fmt: skip

    def _settled(self, place: Place) -> Place:
        return Place(ENDS[place.state], NEVER, place.state == "offload", place.state == "restore")

    def _beginnings(self, moment: Moment) -> Iterator[tuple[Moment | None, float]]:
        """Yield each thing that could begin, None where it can't, always in the same order."""
        for job, (at, key) in product(range(len(self.trace)), enumerate(self.keys)):
            yield self._run(moment, job, at, key)
        for at, key in enumerate(self.keys):
            for act in ENDS:
                yield self._act(moment, act, at, key), 0.0

    def _run(
        self, moment: Moment, number: int, at: int, key: tuple[str, int]
    ) -> tuple[Moment | None, float]:
        job, (name, device) = self.trace[number], key
        if number not in moment.waiting or job.arrives_s > moment.now or job.model != name:
            return None, 0.0
        if moment.places[at].state != "ready":
            return None, 0.0
        end = moment.now + int(job.run_s)
        places = list(moment.places)
        places[at] = Place("ready")
        following = replace(
            moment,
            places=tuple(places),
            runs=tuple(sorted((*moment.runs, (number, device, end)))),
            waiting=moment.waiting - {number},
        )
        return (following if self._allowed(following) else None), job.weight * end

    def _act(self, moment: Moment, act: str, at: int, key: tuple[str, int]) -> Moment | None:
        name, place, costs = key[0], moment.places[at], self.world.costs
        busy = any(self.trace[job].model == name and device == key[1]
                   for job, device, _ in moment.runs)  # fmt: skip
        wanted = any(self.trace[job].model == name for job in moment.waiting)
        leaves = place.state == "ready" and not busy and not place.fresh
        restore = int(costs.restore_s[name])
        begins, takes, host = {
            "load": (place.state == "disk" and wanted, int(costs.load_s[name]), False),
            "restore": (place.state == "host" and wanted, restore, True),
            "unload": (leaves, int(costs.unload_s), False),
            "offload": (leaves and wanted, restore, True),
            "forget": (place.state == "host", int(costs.unload_s), True),
        }[act]
        if not begins:
            return None
        places = list(moment.places)
        places[at] = Place(act, moment.now + takes, host)
        following = replace(moment, places=tuple(places))
        return following if self._allowed(following) else None

    def _allowed(self, moment: Moment) -> bool:
        """Whether all bytes and slots are kept to."""
        in_host = sum(self.models[key[0]].weights_bytes
                      for key, place in zip(self.keys, moment.places, strict=True)
                      if place.host)  # fmt: skip
        return in_host <= self.world.host_bytes and all(
            self._device_allowed(moment, device) for device in range(len(self.world.devices))
        )

    def _device_allowed(self, moment: Moment, device: int) -> bool:
        taken = loads = 0
        for (name, where), place in zip(self.keys, moment.places, strict=True):
            if where != device or place.state not in ON_DEVICE:
                continue
            model = self.models[name]
            loads += place.state in {"load", "restore"}
            runs = [self.trace[job].quality for job, on, _ in moment.runs
                    if on == device and self.trace[job].model == name]  # fmt: skip
            held = model.weights_bytes + sum(
                (model.qualities[quality].footprint_bytes - model.weights_bytes)
                // model.qualities[quality].concurrency
                for quality in runs
            )
            if held > model.budget_bytes or len(runs) > model.max_concurrent:
                return False
            if any(runs.count(name) > each.concurrency for name, each in model.qualities.items()):
                return False
            taken += held
        return loads <= 1 and taken <= self.world.devices[device].usable_bytes
