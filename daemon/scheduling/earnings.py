"""What a device earns at prices that are given: the other half of `priced`. Needs `simulate`.

The best path through the device's graph, by dynamic programming over all steps. In each state that
mix of runs counts which earns the most, and of each class the jobs with the highest prices.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.scheduling.graph import Class, Graph
from daemon.scheduling.payments import Payments, Prices
from daemon.scheduling.trace import Trace

_Numbers = NDArray[np.int64]
_Table = NDArray[np.float64]

_NEVER = -1e18


class Earnings:
    """One device, or several alike.

    Args:
        graph: what it may hold and run.
        classes: in the order of the graph's mixes.
        jobs: one class after the other, in that order.
        payments: of the same jobs.
        from_empty: nothing is loaded before the first step; else anything may be.
    """

    def __init__(
        self,
        graph: Graph,
        classes: Sequence[Class],
        jobs: Trace,
        payments: Payments,
        *,
        from_empty: bool,
    ) -> None:
        mixes = sorted({mix for each in graph.mixes for mix in each})
        kinds = sorted({tuple(mixes.index(mix) for mix in each) for each in graph.mixes})
        self._kind_of: _Numbers = np.array(
            [kinds.index(tuple(mixes.index(mix) for mix in each)) for each in graph.mixes]
        )
        self._mixes_of = _padded(kinds)
        self._mixes: _Numbers = np.array(mixes, dtype=np.int64)
        self._before = _padded(graph.before)
        self._first: _Table = np.full(len(graph.states), _NEVER if from_empty else 0.0)
        self._first[list(graph.first)] = 0.0

        of_class = [[at for at, job in enumerate(jobs) if (job.model, job.quality) == each]
                    for each in classes]  # fmt: skip
        self._jobs_of = [slice(each[0], each[-1] + 1) if each else slice(0) for each in of_class]
        self._most: list[int] = [int(each) for each in self._mixes.max(axis=0)]
        self._ranks: _Table = np.concatenate(
            [self._mixes[:, [at]] > np.arange(most) for at, most in enumerate(self._most)], axis=1
        ).astype(np.float64)
        """Of each mix: whether the best job of a class is in it, the second best, and so on."""

        self._places = np.arange(len(jobs))[:, None], payments.columns
        self._table = np.zeros((len(jobs), int(payments.columns.max()) + 1))

    def most(self, prices: Prices) -> tuple[float, Prices]:
        """Return what the device earns at most, and whom it serves for that."""
        self._table[self._places] = prices
        best = [self._best(at) for at in range(len(self._most))]
        values = np.concatenate([value for _, value in best]).T @ self._ranks.T
        by_kind = values[:, self._mixes_of]
        chosen = by_kind.argmax(axis=2)
        earned, path = self._path(by_kind.max(axis=2)[:, self._kind_of])
        kinds = self._kind_of[path]
        mixes = self._mixes[self._mixes_of[kinds, chosen[np.arange(len(path)), kinds]]]
        served = np.zeros_like(self._table)
        for at, (jobs, _) in enumerate(best):
            for rank, numbers in enumerate(jobs):
                steps = np.flatnonzero(mixes[:, at] > rank)
                served[numbers[steps], steps] = 1.0
        return earned, served[self._places]

    def _best(self, at: int) -> tuple[_Numbers, _Table]:
        """Return a class's jobs with the highest prices in each step, best first, and prices."""
        table, most = self._table[self._jobs_of[at]], self._most[at]
        if len(table) > most > 0:
            top = np.argpartition(-table, most - 1, axis=0)[:most]
        else:
            top = np.tile(np.arange(most)[:, None], (1, table.shape[1]))
        values = np.take_along_axis(table, top, axis=0)
        order = np.argsort(-values, axis=0)
        ordered = np.take_along_axis(top, order, axis=0) + (self._jobs_of[at].start or 0)
        return ordered, np.take_along_axis(values, order, axis=0)

    def _path(self, values: _Table) -> tuple[float, _Numbers]:
        """Return the best path and what it earns, of what each state earns in each step."""
        before = np.ascontiguousarray(self._before.T)
        earned = np.empty_like(values)
        earned[0] = self._first + values[0]
        for step in range(1, len(values)):
            np.add(earned[step - 1].take(before).max(axis=0), values[step], out=earned[step])
        path: _Numbers = np.zeros(len(values), dtype=np.int64)
        path[-1] = earned[-1].argmax()
        for step in range(len(values) - 1, 0, -1):
            ways = self._before[path[step]]
            path[step - 1] = ways[earned[step - 1].take(ways).argmax()]
        return float(earned[-1].max()), path


def _padded(rows: Sequence[Sequence[int]]) -> _Numbers:
    """Return rows of one length: short ones say their first number again."""
    longest = max(len(row) for row in rows)
    return np.array([[*row, *[row[0]] * (longest - len(row))] for row in rows], dtype=np.int64)
