"""From what was asked for to what a scheduler is to serve."""

from typing import Any

import pytest
from virtual_gpu import SHIPPED

from daemon.scheduling.trace import TraceJob, generate
from daemon.settings import load_settings
from daemon.simulate_options import SimulateOptions, duration_of
from daemon.simulate_source import arrivals_of, check_source, trace_of
from daemon.startup import StartupError
from daemon.traces import Arrival

SDXL = next(model for model in SHIPPED if model.name == "sdxl").qualities["fast"]


def test_a_trace_begins_with_its_first_job() -> None:
    """Epoch seconds become the simulation's, in order; what was asked for stays with each job."""
    jobs, _ = trace_of(
        [
            Arrival(1_772_366_460.5, "sdxl_image_fast", user=7, run_s=11.5),
            Arrival(1_772_366_400.0, "video7b_high_enhanced", priority=3, run_s=99.0),
        ],
        SHIPPED,
    )

    assert jobs == [
        TraceJob("job-0", "video", "high", 0.0, 99.0, None, jobs[0].weight, priority=3),
        TraceJob("job-1", "sdxl", "fast", 60.5, 11.5, "7", SDXL.weight),
    ]


def test_a_run_that_nobody_measured_takes_what_is_expected() -> None:
    """A run of no time at all is something else."""
    arrivals = [Arrival(0.0, "sdxl_image_fast"), Arrival(1.0, "sdxl_image_fast", run_s=0.0)]
    jobs, _ = trace_of(arrivals, SHIPPED)

    assert [job.run_s for job in jobs] == [SDXL.run_s, 0.0]


def test_what_no_model_serves_is_left_out_and_counted() -> None:
    """Job types that nobody knows, and those of models that this worker doesn't serve."""
    names = ["paint", "chat", "sdxl_image_fast", "chat", "sdxl_image_high"]
    served = [model for model in SHIPPED if model.name == "sdxl"]
    jobs, left_out = trace_of([Arrival(float(n), name) for n, name in enumerate(names)], served)

    assert [job.arrives_s for job in jobs] == [0.0, 2.0]
    assert left_out == {"chat": 2, "paint": 1}


def test_generated_jobs_are_those_of_the_seed() -> None:
    """By way of job types, as the table would have had them."""
    options = SimulateOptions(jobs=50, per_hour=120.0, seed=3)
    arrivals, source = arrivals_of(options, load_settings(), SHIPPED)
    jobs, left_out = trace_of(arrivals, SHIPPED)
    made = generate(3, 50, SHIPPED, per_hour=120.0)

    assert source == "generated, 120 an hour, seed 3"
    assert not left_out
    assert [(job.model, job.quality, job.run_s, job.weight) for job in jobs] == [
        (job.model, job.quality, job.run_s, job.weight) for job in made
    ]
    first_s = made[0].arrives_s
    assert [job.arrives_s for job in jobs] == [job.arrives_s - first_s for job in made]
    users: dict[str | None, str | None] = {}
    assert all(
        users.setdefault(one.user, other.user) == other.user
        for one, other in zip(made, jobs, strict=True)
    )


@pytest.mark.parametrize(
    "given",
    [
        {"trace": "file", "from_database": True},
        {"trace": "file", "jobs": 3},
        {"from_database": True, "seed": 0},
    ],
)
def test_jobs_have_one_source(given: dict[str, Any]) -> None:
    """Whoever names two meant something that isn't done."""
    with pytest.raises(StartupError, match="one source of jobs"):
        check_source(SimulateOptions(**given))


def test_how_far_back_is_asked_of_the_database_alone() -> None:
    """Elsewhere it would be ignored."""
    check_source(SimulateOptions(from_database=True, since=60.0))
    with pytest.raises(StartupError, match="--since goes with --from-database"):
        check_source(SimulateOptions(jobs=3, since=60.0))


@pytest.mark.parametrize(
    ("seconds", "written"), [(60, "1m"), (5400, "90m"), (7200, "2h"), (86400 * 3, "3d"),
                             (86400 * 7, "1w"), (86400 * 10, "10d")]
)  # fmt: skip
def test_how_far_back_is_said_as_it_was_asked(seconds: float, written: str) -> None:
    """Or shorter."""
    assert duration_of(seconds) == written


def test_a_database_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says where."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(StartupError, match="set DATABASE_URL"):
        arrivals_of(SimulateOptions(from_database=True), load_settings(), SHIPPED)
