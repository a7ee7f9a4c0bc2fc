"""What was learned of each model, as plain values: taken out of one scheduler, put into another.

They outlive a restart and a rebuild. Whoever keeps them sees to it that they are of the same
weights on the same kind of device; what the settings have changed meanwhile is seen to here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from daemon.scheduling.estimates import Likeness
from daemon.scheduling.facts import Facts


@dataclass(frozen=True, slots=True)
class Figures:
    """What was seen of one model, the oldest first of each kind.

    Attributes:
        weights: bytes that its last loads took.
        peaks: bytes that runs took beside the weights, by quality, size and batch.
        runs_s: seconds of runs by quality.
        moves_s: seconds of moves by name, see `Durations.moves`.
    """

    weights: tuple[int, ...] = ()
    peaks: Mapping[tuple[str, int, int], tuple[int, ...]] = field(default_factory=dict)
    runs_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    moves_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything was seen."""
        return bool(self.weights or self.peaks or self.runs_s or self.moves_s)


class Learner:
    """What learns: the facts of one scheduler."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def figures(self) -> dict[str, Figures]:
        """Return what was learned of each model of which something was."""
        found = {name: _of_model(self._facts, name) for name in self._facts.models}
        return {name: figures for name, figures in found.items() if figures}

    def recall(self, learned: Mapping[str, Figures]) -> None:
        """Take figures up as if they had been seen now; before the first decision.

        Models and qualities that aren't there are left out, and weights above the model's budget:
        with them it would never be loaded again to be measured.
        """
        for name in learned.keys() & self._facts.models.keys():
            _recall_model(self._facts, name, learned[name])


def _of_model(facts: Facts, name: str) -> Figures:
    durations, peaks = facts.durations, facts.estimates.peaks()
    return Figures(
        weights=facts.estimates.loads(name),
        peaks={
            (each.quality, each.size, each.batch): seen
            for each, seen in peaks.items()
            if each.model == name
        },
        runs_s={
            quality: seen.values
            for (model, quality), seen in durations.runs.items()
            if model == name and seen.values
        },
        moves_s={move: seen.values for move, seen in durations.moves(name).items() if seen.values},
    )


def _recall_model(facts: Facts, name: str, figures: Figures) -> None:
    model, durations = facts.models[name], facts.durations
    weights = [each for each in figures.weights if each <= model.budget_bytes]
    facts.estimates.weights_measured(name, *weights)
    for (quality, size, batch), peaks in figures.peaks.items():
        if quality in model.qualities and peaks:
            facts.estimates.recall(Likeness(name, quality, size, batch), peaks)
    for quality, seconds in figures.runs_s.items():
        if quality in model.qualities:
            durations.runs[name, quality].observe(*seconds)
    moves = durations.moves(name)
    for move, seconds in figures.moves_s.items():
        if move in moves:
            moves[move].observe(*seconds)
