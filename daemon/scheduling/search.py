"""A long search for a better schedule of a known trace: how much foresight would have helped. Pure.

The shipped policy is steered: in each stretch of time each class's weight is multiplied by a
factor, and a model may be loaded ahead of the jobs that only foresight knows of. What lowers the
true cost is kept. Its schedules are real ones, so the best is an upper bound on the optimum; the
optimum itself may be lower.
"""

import math
import random
from dataclasses import dataclass, field

from daemon.scheduling.claims import Claim
from daemon.scheduling.commands import Command, LoadModel, UnloadModel
from daemon.scheduling.policy import IndexPolicy
from daemon.scheduling.residency import Residency
from daemon.scheduling.simulation import Outcome, World
from daemon.scheduling.state import State
from daemon.scheduling.trace import Trace

STRETCH_S = 120.0
"""Seconds in which factors stay: the longest run, and less than a turn."""

AHEAD_S = 15.0
"""Seconds in which a model may be loaded ahead."""

LONG_SHARE, AHEAD_SHARE = 0.4, 0.35
"""So large a share of the tries changes factors for long, and is about loads ahead."""

LONG = (2, 4, 8, 16)
"""Stretches that change together, besides all from one on: what holds a class back must do so until
its turn, and single stretches then mend what is left."""


@dataclass
class Steering:
    """Factors on the weights of (model, quality), and loads ahead, by stretch of time."""

    factors: dict[tuple[str, str, int], float] = field(default_factory=dict)
    ahead: dict[int, str] = field(default_factory=dict)

    def changed(
        self, draw: random.Random, stretches: int, classes: list[tuple[str, str]]
    ) -> "Steering":
        """Return a neighbour: a class's factor, or a load ahead, is another one.

        1. Many stretches' factors are multiplied, so that they keep what differs among them.
        2. A model is loaded ahead of its jobs.
        3. A few stretches have a new factor.
        """
        kind = draw.random()
        model, quality = draw.choice(classes)
        if LONG_SHARE <= kind < LONG_SHARE + AHEAD_SHARE:  # 2
            shorter = int(stretches * STRETCH_S / AHEAD_S)
            return Steering(self.factors, {**self.ahead, draw.randrange(shorter): model})
        begin = draw.randrange(stretches)
        factor = math.exp(draw.gauss(0.0, 1.5))
        changed = dict(self.factors)
        if kind < LONG_SHARE:  # 1
            count = draw.choice((*LONG, stretches))
            for stretch in range(begin, min(stretches, begin + count)):
                before = changed.get((model, quality, stretch), 1.0)
                changed[model, quality, stretch] = before * factor
        else:  # 3
            for stretch in range(begin, begin + draw.choice((1, 1, 2, 4))):
                changed[model, quality, stretch] = factor
        return Steering(changed, self.ahead)


class SteeredPolicy(IndexPolicy):
    """The shipped policy with other weights for a while."""

    fair = False

    def __init__(self, steering: Steering, max_pass_over_s: float) -> None:
        super().__init__(max_pass_over_s)
        self._factors = steering.factors
        self._ahead = steering.ahead
        self._stretch = -1

    def next_command(self, state: State, now: float) -> Command | None:
        """Return the next command, by the weights of this stretch, or load ahead."""
        self._steer(state, now)
        command = super().next_command(state, now)
        if command is None and (model := self._ahead.get(int(now / AHEAD_S))) is not None:
            return _load_ahead(state, model)
        return command

    def claims(self, state: State, now: float) -> dict[int, Claim]:
        """Return the claims, by the weights of this stretch."""
        self._steer(state, now)
        return super().claims(state, now)

    def next_deadline(self, state: State, now: float) -> float | None:
        """Return when the shipped policy would look again, or the next load ahead is due."""
        later = [stretch * AHEAD_S for stretch in self._ahead if stretch * AHEAD_S > now]
        deadline = super().next_deadline(state, now)
        return min(later, default=None) if deadline is None else min([deadline, *later])

    def _steer(self, state: State, now: float) -> None:
        stretch = int(now / STRETCH_S)
        if stretch == self._stretch:
            return
        self._stretch = stretch
        for lane in state.lanes:
            factor = self._factors.get((*lane.key, stretch), 1.0)
            lane.weight = lane.quality.weight * factor


def _load_ahead(state: State, model: str) -> Command | None:
    """Load the model if it is nowhere, in place of models that nobody waits for."""
    if state.present(model):
        return None
    for place in state.placements_of[model]:
        here = state.placements_on[place.device]
        if any(each.residency in {Residency.LOADING, Residency.EVICTING} for each in here):
            continue
        if state.ledgers[place.device].free_bytes >= state.estimates.weights(model):
            return LoadModel(model, place.device)
        for each in here:
            idle = each.residency is Residency.RESIDENT and not each.runs
            if idle and not state.has_work(each.model.name):
                return UnloadModel(each.model.name, place.device)
    return None


def search(
    trace: Trace, world: World, *, tries: int, max_pass_over_s: float = math.inf, seed: int = 0
) -> Outcome:
    """Return the best outcome that so many tries have found.

    Args:
        trace: what is to be served.
        world: where.
        tries: simulations.
        max_pass_over_s: the policy's bound; infinity leaves the search free.
        seed: of the search.
    """
    draw = random.Random(seed)  # noqa: S311  a search, not a secret

    def outcome(steering: Steering) -> Outcome:
        return world.run(trace, SteeredPolicy(steering, max_pass_over_s))

    steering = Steering()
    best = outcome(steering)
    classes = sorted({(job.model, job.quality) for job in trace})
    for _ in range(tries):
        stretches = int(best.makespan_s / STRETCH_S) + 1
        neighbour = steering.changed(draw, stretches, classes)
        found = outcome(neighbour)
        if found.cost < best.cost:
            steering, best = neighbour, found
    return best
