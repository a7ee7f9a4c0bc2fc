"""Figures of a simulation, by hand."""

import pytest

from daemon.scheduling.simulation import Outcome, Served
from daemon.scheduling.trace import TraceJob
from daemon.simulate_report import Figures, Waits, as_json, class_of, figures_of, tables


def served(
    name: str, arrives_s: float, started_s: float, ended_s: float, *, device: int = 0
) -> Served:
    model, quality, _ = name.split(" ")
    job = TraceJob(name, model, quality, arrives_s, ended_s - started_s, weight=2.0)
    return Served(job, device, started_s, ended_s)


OUTCOME = Outcome(
    [
        served("sdxl fast a", 0, 8, 18),
        served("sdxl fast b", 2, 12, 20),
        served("chat fast c", 0, 30, 40),
        served("wan fast d", 0, 0, 40, device=1),
    ],
    ["refused"],
    loads=3,
    loading_s=25.0,
)
CLASSES = ["chat fast", "sdxl fast", "video fast", "wan fast"]


def figures() -> Figures:
    return figures_of("2 x 24 GB", "fifo", OUTCOME, 2, CLASSES)


def test_waits_are_from_arrival_to_start() -> None:
    """The mean, what half and what 95 % stayed below, and the longest; of all and of each class."""
    found = figures()

    assert found.waits == Waits(4, 12.0, 8, 30, 30)
    assert found.classes == {
        "chat fast": Waits(1, 30.0, 30, 30, 30),
        "sdxl fast": Waits(2, 9.0, 8, 10, 10),
        "video fast": Waits(0, 0.0, 0.0, 0.0, 0.0),
        "wan fast": Waits(1, 0.0, 0, 0, 0),
    }


def test_refused_jobs_are_jobs_too() -> None:
    """They wait for nothing, and cost nothing."""
    found = figures()

    assert (found.jobs, found.refused, found.loads, found.loading_s) == (5, 1, 3, 25.0)
    assert found.cost_per_job_s == 2 * (18 + 18 + 40 + 40) / 4


def test_devices_are_busy_while_anything_runs() -> None:
    """Runs beside one another count once: 8 to 20 and 30 to 40 here, all 40 seconds there."""
    assert figures().busy_share == pytest.approx((12 + 10 + 40) / 80)


def test_nothing_served_is_no_division_by_zero() -> None:
    """A host may refuse everything."""
    found = figures_of("4 GB", "shipped", Outcome([], ["a"], 0, 0.0), 1, ["chat fast"])

    assert (found.jobs, found.busy_share, found.cost_per_job_s) == (1, 0.0, 0.0)
    assert "  -" in tables([found])


def test_json_has_what_the_tables_have() -> None:
    """Under names that say the unit."""
    [row] = as_json([figures()])

    assert row["host"] == "2 x 24 GB"
    assert row["waits"] == {"jobs": 4, "mean_s": 12.0, "p50_s": 8, "p95_s": 30, "longest_s": 30}
    assert row["classes"]["sdxl fast"]["mean_s"] == 9.0
    assert row["busy_share"] == 0.775
    assert row["loading_share"] == 0.312


def test_tables_are_aligned() -> None:
    """Each line of a table is as long as its head."""
    whole, _, by_class = tables([figures()]).split("\n\n")

    assert [" ".join(line.split()) for line in whole.splitlines()] == [
        "host policy jobs refused mean wait p50 p95 longest cost/job loads loading busy",
        "2 x 24 GB fifo 5 1 12.0 8.0 30.0 30.0 58.0 3 25 78%",
    ]
    assert by_class.splitlines()[-1].split("  ")[-1].strip() == "0.0 (0.0)"
    for table in (whole, by_class.split("\n", 1)[1]):
        assert len({len(line) for line in table.splitlines()}) == 1


def test_classes_have_the_names_of_models_and_qualities() -> None:
    """As the settings write them."""
    assert class_of(OUTCOME.served[0].job) == "sdxl fast"
