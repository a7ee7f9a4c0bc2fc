"""What a device may hold and run from one moment to the next: the graph of `priced`. Pure.

A device is looked at in moments that are `step_s` apart. Whatever a schedule does, what is seen of
it is a path of this graph: a load of `n` steps is seen at least `n` times, less its fraction, and
between two moments any model may be dropped and any load shorter than a step may happen. So the
graph allows more than a device can do, never less: unloads take no time, and a model that is
loaded may come from the host's memory, where there is any.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import NamedTuple

from daemon.scheduling.estimates import Estimates
from daemon.scheduling.models import ModelSpec

MOST_STATES = 1_000
MOST_MIXES = 5_000
"""Beyond these a graph takes too long: many models that fit beside one another."""

Class = tuple[str, str]
"""A model and a quality."""

Mix = tuple[int, ...]
"""Runs at one moment: how many of each class."""


class TooLargeError(Exception):
    """So many models fit beside one another that the graph isn't worth its time."""


class Holding(NamedTuple):
    """What a device holds at a moment: models that are ready, and one that is being loaded."""

    ready: frozenset[str]
    loading: str = ""
    seen: int = 0
    """At how many moments the load was seen, this one included."""


@dataclass(frozen=True)
class Graph:
    """A device's states, what may follow what, and what can run in each."""

    states: Sequence[Holding]
    first: Sequence[int]
    """The states, by number, that may be seen first on a device that was empty."""
    before: Sequence[Sequence[int]]
    """From which states, by number, each one may follow."""
    mixes: Sequence[Sequence[Mix]]
    """Of each state: what may run in it, without those that leave a slot empty for nothing."""


def graph_of(
    models: Sequence[ModelSpec],
    usable_bytes: int,
    load_steps: Mapping[str, int],
    most: Mapping[Class, int],
) -> Graph:
    """Return the graph of one device.

    Args:
        models: what may be loaded.
        usable_bytes: the device's.
        load_steps: steps that a load takes at least, by model.
        most: the classes in the order of mixes, and as many runs of each as can be of use.

    Raises:
        TooLargeError: there are too many states or mixes.
    """
    return _Builder(models, usable_bytes, load_steps, most).graph()


class _Builder:
    def __init__(
        self,
        models: Sequence[ModelSpec],
        usable_bytes: int,
        load_steps: Mapping[str, int],
        most: Mapping[Class, int],
    ) -> None:
        self._estimates = Estimates(models)
        self._models = {model.name: model for model in models}
        self._usable = usable_bytes
        self._load_steps = load_steps
        self._most = most

    def graph(self) -> Graph:
        sets = [each for each in _subsets(self._models) if self._free(each) >= 0]
        states = [Holding(each) for each in sets]
        for ready in sets:
            for name, steps in self._load_steps.items():
                if name not in ready and self._free(ready | {name}) >= 0:
                    states += [Holding(ready, name, seen) for seen in range(1, steps + 1)]
        if len(states) > MOST_STATES:
            raise TooLargeError(f"{len(states)} states")
        number = {state: at for at, state in enumerate(states)}
        before: list[list[int]] = [[] for _ in states]
        for state in states:
            for following in self._after(state):
                before[number[following]].append(number[state])
        first = [number[each] for each in self._open(frozenset())]
        kept: dict[tuple[frozenset[str], str], list[Mix]] = {}
        for state in states:
            kind = state.ready, state.loading
            if kind not in kept:
                kept[kind] = self._mixes(state)
        return Graph(states, first, before, [kept[each.ready, each.loading] for each in states])

    def _free(self, held: Iterable[str]) -> int:
        return self._usable - sum(self._estimates.weights(name) for name in held)

    def _after(self, state: Holding) -> set[Holding]:
        """Return what may be seen a step later."""
        if not state.loading:
            return self._open(state.ready)
        if state.seen < self._load_steps[state.loading]:
            return {Holding(kept, state.loading, state.seen + 1) for kept in _subsets(state.ready)}
        return self._open(state.ready | {state.loading})

    def _open(self, ready: frozenset[str]) -> set[Holding]:
        """Return what may be seen next of a device on which no load goes on at the moment."""
        reached, ahead = {ready}, [ready]
        while ahead:
            here = ahead.pop()
            others = [here - {name} for name in here]
            others += [here | {name} for name in self._loadable(here, at_once=True)]
            for other in others:
                if other not in reached:
                    reached.add(other)
                    ahead.append(other)
        loads = {
            Holding(here, name, 1)
            for here in reached
            for name in self._loadable(here, at_once=False)
        }
        return {Holding(here) for here in reached} | loads

    def _loadable(self, ready: frozenset[str], *, at_once: bool) -> list[str]:
        return [
            name
            for name, steps in self._load_steps.items()
            if name not in ready and (steps == 0) == at_once and self._free(ready | {name}) >= 0
        ]

    def _mixes(self, state: Holding) -> list[Mix]:
        """Return the mixes that can run in a state, the largest ones."""
        held = state.ready | {state.loading} if state.loading else state.ready
        free = self._free(held)
        mixes: list[tuple[Mix, int]] = [((), 0)]
        for name, model in self._models.items():
            own = self._own(model) if name in state.ready else self._own(model)[:1]
            mixes = [
                (mix + more, taken + n_bytes)
                for (mix, taken), (more, n_bytes) in product(mixes, own)
                if taken + n_bytes <= free
            ]
            if len(mixes) > MOST_MIXES:
                raise TooLargeError(f"{len(mixes)} mixes")
        return [mix for mix, _ in _largest([(mix, 0) for mix, _ in mixes])]

    def _own(self, model: ModelSpec) -> list[tuple[Mix, int]]:
        """Return the mixes of one model's classes that its limits allow, none first, with bytes."""
        classes = [each for each in self._most if each[0] == model.name]
        bytes_each = [self._estimates.activation(*each) for each in classes]
        spare = model.budget_bytes - self._estimates.weights(model.name)
        ranges = [
            range(min(model.qualities[quality].concurrency, self._most[model.name, quality]) + 1)
            for _, quality in classes
        ]
        found = [
            (counts, taken)
            for counts in product(*ranges)
            if sum(counts) <= model.max_concurrent
            and (taken := sum(n * each for n, each in zip(counts, bytes_each, strict=True)))
            <= spare
        ]
        none = (0,) * len(classes), 0
        return [none, *(each for each in _largest(found) if each != none)]


def _largest(mixes: Sequence[tuple[Mix, int]]) -> list[tuple[Mix, int]]:
    """Return those beside which none has at least as many runs of each class in no more bytes."""
    return [
        one
        for one in mixes
        if not any(
            other != one
            and other[1] <= one[1]
            and all(n >= m for n, m in zip(other[0], one[0], strict=True))
            for other in mixes
        )
    ]


def _subsets(names: Iterable[str]) -> list[frozenset[str]]:
    every = sorted(names)
    return [
        frozenset(chosen) for size in range(len(every) + 1) for chosen in combinations(every, size)
    ]
