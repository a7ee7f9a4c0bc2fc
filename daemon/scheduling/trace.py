"""Traces: which jobs arrive when, and how long each one runs. Pure."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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

    def request(self) -> AdmissionRequest:
        """Return it as the scheduler gets it."""
        return AdmissionRequest(
            self.id, self.model, self.quality, self.user, self.arrives_s, self.interactive
        )


Trace = Sequence[TraceJob]

RUN_S: Mapping[tuple[str, str], float] = {
    ("sdxl", "fast"): 15.0,
    ("sdxl", "high"): 30.0,
    ("wan", "fast"): 5.0,
    ("wan", "high"): 10.0,
    ("video", "fast"): 60.0,
    ("video", "high"): 120.0,
    ("chat", "fast"): 10.0,
}
"""Average generation times of the worker's API document; chat's 5 to 15 s are taken as 10."""

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
    *,
    per_hour: float | None = None,
    mix: Mapping[tuple[str, str], float] = MIX,
    run_s: Mapping[tuple[str, str], float] = RUN_S,
    users: int = 8,
) -> list[TraceJob]:
    """Return a trace; the same seed, the same trace.

    Args:
        seed: of the generator.
        count: jobs.
        per_hour: arrivals an hour on the average, exponential gaps; None: all there at the start.
        mix: shares of the classes, (model, quality).
        run_s: average run of each class, seconds; runs differ by up to 25 %.
        users: jobs are spread over so many.
    """
    draw = random.Random(seed)  # noqa: S311  a trace, not a secret
    classes, shares = list(mix), list(mix.values())
    now, jobs = 0.0, []
    for number in range(count):
        if per_hour is not None:
            now += draw.expovariate(per_hour / 3600)
        model, quality = draw.choices(classes, shares)[0]
        seconds = run_s[model, quality] * draw.uniform(1 - _SPREAD, 1 + _SPREAD)
        user = f"user-{draw.randrange(users)}"
        jobs.append(TraceJob(f"job-{number}", model, quality, now, round(seconds, 2), user))
    return jobs
