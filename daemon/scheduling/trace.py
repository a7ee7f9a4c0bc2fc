"""Traces: which jobs arrive when, and how long each one runs. Pure."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from daemon.scheduling.models import ModelSpec
from daemon.values import AdmissionRequest


@dataclass(frozen=True, slots=True)
class TraceJob:
    """One job of a trace. Seconds; `weight` is what a second of its waiting costs."""

    id: str
    model: str
    quality: str
    arrives_s: float
    run_s: float
    user: str | None = None
    weight: float = 1.0
    interactive: bool = False
    priority: int = 0

    def request(self) -> AdmissionRequest:
        """Return it as the scheduler gets it."""
        return AdmissionRequest(
            self.id,
            self.model,
            self.quality,
            self.user,
            self.arrives_s,
            self.interactive,
            priority=self.priority,
        )


Trace = Sequence[TraceJob]

MIX: Mapping[tuple[str, str], float] = {
    ("sdxl", "fast"): 30,
    ("sdxl", "high"): 10,
    ("wan", "fast"): 20,
    ("wan", "high"): 8,
    ("video", "fast"): 4,
    ("video", "high"): 2,
    ("chat", "fast"): 26,
}
"""How often each class is asked for, as shares: a guess at a picture platform's day."""

_SPREAD = 0.25
"""Runs differ by up to this share from their class's average."""


def generate(
    seed: int,
    count: int,
    models: Iterable[ModelSpec],
    *,
    per_hour: float | None = None,
    mix: Mapping[tuple[str, str], float] = MIX,
    users: int = 8,
) -> list[TraceJob]:
    """Return a trace; the same seed, the same trace. Empty where no model has a class of the mix.

    Args:
        seed: of the generator.
        count: jobs.
        models: their classes' expected seconds and weights count; runs differ by up to 25 %.
        per_hour: arrivals an hour on the average, exponential gaps; None: all there at the start.
        mix: shares of the classes, (model, quality); those that no model has are left out.
        users: jobs are spread over so many.
    """
    draw = random.Random(seed)  # noqa: S311  a trace, not a secret
    specs = {(each.name, name): q for each in models for name, q in each.qualities.items()}
    classes = [key for key in mix if key in specs]
    now, jobs = 0.0, []
    for number in range(count if classes else 0):
        if per_hour is not None:
            now += draw.expovariate(per_hour / 3600)
        key = draw.choices(classes, [mix[each] for each in classes])[0]
        seconds = round(specs[key].run_s * draw.uniform(1 - _SPREAD, 1 + _SPREAD), 1)
        user, weight = f"user-{draw.randrange(users)}", specs[key].weight
        jobs.append(TraceJob(f"job-{number}", *key, round(now, 1), seconds, user, weight))
    return jobs
