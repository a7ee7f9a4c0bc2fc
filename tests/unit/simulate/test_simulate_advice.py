"""Which sentences follow from which figures."""

from dataclasses import replace

import pytest

from daemon.simulate_advice import advice
from daemon.simulate_report import Figures, Waits

HERE = Figures(
    host="24 GB",
    policy="shipped",
    jobs=100,
    refused=0,
    waits=Waits(100, 30.0, 10.0, 120.0, 300.0),
    cost_per_job_s=60.0,
    loads=20,
    loading_s=100.0,
    loading_share=0.05,
    busy_share=0.5,
    makespan_s=2000.0,
    classes={
        "chat fast": Waits(60, 5.0, 0.0, 20.0, 30.0),
        "video high": Waits(40, 67.5, 60.0, 200.0, 300.0),
    },
)
THERE = replace(HERE, host="2 x 24 GB", waits=Waits(100, 3.0, 0.0, 12.0, 30.0), cost_per_job_s=45.0)


def test_one_simulation_says_where_time_goes_and_who_waits() -> None:
    """Nothing to compare with, so nothing is best."""
    assert advice([HERE]) == (
        "24 GB, shipped: jobs run in 50% of the GPUs' time, models load in 5%; "
        "video high waits longest, 67.5 s on the average."
    )


@pytest.mark.parametrize(
    ("busy", "loading", "hint"),
    [
        (0.9, 0.05, "There is hardly any time left: more GPUs help, another order doesn't."),
        (0.9, 0.2, "There is hardly any time left: more GPUs help, another order doesn't."),
        (0.02, 0.01, "Loads are much of it: try --host-gb, or a larger GPU with --compare."),
        (0.6, 0.2, "Loads are much of it: try --host-gb, or a larger GPU with --compare."),
    ],
)
def test_what_holds_jobs_up_says_what_to_try(busy: float, loading: float, hint: str) -> None:
    """A device that is full needs company, one that loads needs memory."""
    assert advice([replace(HERE, busy_share=busy, loading_share=loading)]).endswith(f" {hint}")


def test_the_best_is_named_with_what_it_saves() -> None:
    """Held against the first, which is what the operator has."""
    assert advice([HERE, replace(THERE, policy="lru", cost_per_job_s=50.0), THERE]).endswith(
        "\nBest is 2 x 24 GB, shipped: 25% less cost a job; jobs wait 3.0 s on the average instead "
        "of 30.0, 95 % of them at most 12.0 s instead of 120.0."
    )


@pytest.mark.parametrize("cost_s", [59.5, 60.0, 90.0])
def test_a_little_is_not_better(cost_s: float) -> None:
    """Nobody changes a host for a hundredth."""
    assert advice([HERE, replace(THERE, cost_per_job_s=cost_s)]).endswith(
        "\nNothing here is clearly better than 24 GB, shipped."
    )


def test_who_refuses_jobs_is_never_the_best() -> None:
    """However cheap the others are; and a host that refused some is compared by that alone."""
    refusing = replace(THERE, refused=1, cost_per_job_s=1.0)

    assert "Nothing here is clearly better" in advice([HERE, refusing])
    assert advice([refusing, HERE]).endswith(
        "\n24 GB, shipped is the cheapest of those that serve all jobs."
    )
    assert advice([refusing, refusing]).endswith("\nNone of them serves all jobs.")


def test_nobody_who_waits_and_nobody_who_is_served() -> None:
    """Are sentences too."""
    idle = {name: Waits(1, 0.0, 0.0, 0.0, 0.0) for name in HERE.classes}
    nothing = replace(HERE, waits=Waits(0, 0.0, 0.0, 0.0, 0.0))

    assert advice([replace(HERE, classes=idle)]).endswith("; nobody waits.")
    assert advice([nothing]) == "No job could be served."
