"""What jobs pay for prices that are given: the one half of `priced`. Needs the extra `simulate`."""

import numpy as np
from numpy.typing import NDArray

from daemon.scheduling.trace import Trace

Prices = NDArray[np.float64]
"""One row a job, one column a step of its window. Also what is served there, as shares."""

_Table = NDArray[np.float64]


class Payments:
    """Some jobs, each with a window of steps in which its service has prices.

    Args:
        jobs: whose arrivals count from the first step's begin.
        step_s: seconds of a step.
        window: steps, from the one in which the job arrives.
    """

    def __init__(self, jobs: Trace, step_s: float, window: int) -> None:
        self.step_s = step_s
        self.window = window
        self.weights: _Table = np.array([job.weight for job in jobs])[:, None]
        self._run_s: _Table = np.array([job.run_s for job in jobs])[:, None]
        arrives_s: _Table = np.array([job.arrives_s for job in jobs], dtype=np.float64)[:, None]
        first = np.floor(arrives_s / step_s).astype(np.int64)
        self.columns: NDArray[np.int64] = first + np.arange(window)
        """Which steps each window has."""
        edges = first + np.arange(window + 1)
        self._edges_s: _Table = edges.astype(np.float64) * step_s
        # A job's payment is linear between starts at which it, or its end, crosses an edge.
        starts_s = np.hstack((arrives_s, self._edges_s, self._edges_s - self._run_s))
        self._starts_s: _Table = np.maximum(starts_s, arrives_s)
        self._costs: _Table = self.weights * (self._starts_s + self._run_s - arrives_s)
        self._begins = self._places(self._starts_s)
        self._ends = self._places(self._starts_s + self._run_s)

    def least(self, prices: Prices) -> tuple[float, Prices]:
        """Return what all jobs pay at least, and where they are served for that."""
        before = np.zeros((len(prices), self.window + 1))
        np.cumsum(prices, axis=1, out=before[:, 1:])
        paid = (
            self._costs + _until(before, prices, self._ends) - _until(before, prices, self._begins)
        )
        every = np.arange(len(prices))
        chosen = paid.argmin(axis=1)
        starts_s = self._starts_s[every, chosen][:, None]
        ends_s = starts_s + self._run_s
        within_s = np.minimum(ends_s, self._edges_s[:, 1:]) - np.maximum(
            starts_s, self._edges_s[:, :-1]
        )
        return float(paid[every, chosen].sum()), np.clip(within_s / self.step_s, 0.0, 1.0)

    def _places(self, moments_s: _Table) -> tuple[NDArray[np.int64], _Table]:
        """Return the step of the window in which moments lie, and how far in it."""
        places = np.clip((moments_s - self._edges_s[:, :1]) / self.step_s, 0.0, self.window)
        steps = np.minimum(places.astype(np.int64), self.window - 1)
        return steps, places - steps


def _until(before: _Table, prices: Prices, places: tuple[NDArray[np.int64], _Table]) -> _Table:
    """Return the prices of all service until some places."""
    steps, parts = places
    whole = np.take_along_axis(before, steps, axis=1)
    return whole + parts * np.take_along_axis(prices, steps, axis=1)
