"""What runs must have taught, worked out by itself from what was told of them.

As `Shadow` counts bytes, this counts lessons: it knows the rules of docs/scheduling.md, and nothing
of the estimates that it is compared with.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, field

from shadow import Shadow

from daemon.scheduling.learning import Measured
from daemon.scheduling.models import QualitySpec
from daemon.values import AdmissionRequest

Kind = tuple[str, str, int, int]
"""Model, quality, size, batch."""


@dataclass
class Attendance:
    """A run in its engine: was anybody else there, and what were all promised at most."""

    request: AdmissionRequest
    promised: int
    company: set[str] = field(default_factory=set)
    shared: bool = False
    most: int = 0


@dataclass
class Lessons:
    """Peaks by kind of run, and who stayed within his promise."""

    shadow: Shadow
    runs: dict[str, Attendance] = field(default_factory=dict)
    peaks: dict[Kind, list[int]] = field(default_factory=lambda: defaultdict(list))
    within: dict[tuple[str, str], list[bool]] = field(default_factory=lambda: defaultdict(list))

    def start(self, request: AdmissionRequest, on: int, promised: int) -> None:
        """Let a run begin, beside those that are in the engine."""
        here = self.shadow.living(request.model, on)
        beside = {name for name in self.runs if self.shadow.runs.get(name) in here}
        beside -= {request.id}
        own = Attendance(request, promised, shared=bool(beside))
        own.most = promised + sum(self.runs[name].promised for name in beside)
        # Who has gone counts as long as somebody is left whom he overlapped, or who overlapped him.
        own.most = max([own.most, *(self.runs[name].most for name in beside)])
        self.runs[request.id] = own
        for name in beside:
            other = self.runs[name]
            other.shared, other.most = True, own.most

    def end(self, name: str, measured: Measured) -> None:
        """Take what was seen of a run, whose engine may be gone; before it is forgotten."""
        attendance, run = self.runs.pop(name), self.shadow.runs[name]
        request, promised = attendance.request, attendance.promised
        if request.exclusive:
            return
        if measured.overflowed:
            self._count(request, within=False)
            self._learn(request, promised * 5 / 4)
        elif measured.completed and measured.peak_bytes is not None and not run.lost:
            weights = self.shadow.weights[run.model, run.device]
            took = max(0, measured.peak_bytes - weights)
            if not attendance.shared:
                self._count(request, within=took <= promised)
                self._learn(request, took)
            elif attendance.most:
                self._count(request, within=took <= attendance.most)
                if took > attendance.most:
                    self._learn(request, promised * (took / attendance.most))

    def reservation(self, request: AdmissionRequest) -> int:
        """Return what a run that doesn't need the device for itself must be promised."""
        spec = self.shadow.models[request.model]
        spare = spec.budget_bytes - self.shadow.expected(request.model)
        table = _share(spec.qualities[request.quality], spec.weights_bytes)
        table = min(table, spare // spec.qualities[request.quality].concurrency)
        peaks = sorted(self.peaks[_kind(request)][-64:])
        if not peaks:
            return table
        # So many lie at or below it, unless it is the largest.
        high = peaks[min(len(peaks), math.floor(0.98 * len(peaks)) + 1) - 1]
        learned = int(high * 1.05)
        return min(spare, learned if len(peaks) >= 8 else max(table, learned))

    def _learn(self, request: AdmissionRequest, n_bytes: float) -> None:
        self.peaks[_kind(request)].append(int(n_bytes))

    def _count(self, request: AdmissionRequest, *, within: bool) -> None:
        self.within[request.model, request.quality].append(within)


def _kind(request: AdmissionRequest) -> Kind:
    return request.model, request.quality, request.size, request.batch


def _share(quality: QualitySpec, weights_bytes: int) -> int:
    return (quality.footprint_bytes - weights_bytes) // quality.concurrency
