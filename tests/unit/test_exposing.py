"""What a scrape shows of the parts."""

from daemon.exposing import show_settings, waiting_by_class
from daemon.scheduling.reasons import Reason
from daemon.scheduling.snapshot import LaneSnapshot
from daemon.settings import load_settings
from daemon.telemetry.metrics import Metrics

SETTINGS = load_settings(None, {"worker_type": "sdxl", "database": {"dsn": "postgresql://x/y"}})


def lane(waiting: int, oldest_s: float, *, interactive: bool) -> LaneSnapshot:
    return LaneSnapshot(
        model="sdxl",
        quality="high",
        interactive=interactive,
        exclusive=False,
        waiting=waiting,
        in_table=7,
        oldest_s=oldest_s,
        reason=next(iter(Reason)),
        why="",
    )


def test_lanes_of_a_class_are_one() -> None:
    """Somebody who waits over HTTP is of the same class; a class without waiting has none."""
    lanes = (lane(2, 30.0, interactive=False), lane(1, 4.0, interactive=True))

    assert waiting_by_class(SETTINGS, lanes) == {
        ("sdxl", "fast"): (0, 0.0),
        ("sdxl", "high"): (3, 30.0),
    }


def test_who_stopped_waiting_is_gone() -> None:
    """The next scrape shows the next state, not both."""
    metrics, labels = Metrics(), {"model": "sdxl", "quality": "high"}
    sample = metrics.registry.get_sample_value

    metrics.scheduling.waiting(waiting_by_class(SETTINGS, (lane(2, 30.0, interactive=False),)))
    assert sample("ourvidz_admission_waiting_jobs", labels) == 2
    assert sample("ourvidz_admission_oldest_seconds", labels) == 30.0
    metrics.scheduling.waiting(waiting_by_class(SETTINGS, ()))
    assert sample("ourvidz_admission_waiting_jobs", labels) == 0
    assert sample("ourvidz_admission_oldest_seconds", labels) == 0


def test_budgets_are_bytes() -> None:
    """A GB is 2^30 bytes; models that aren't served have none."""
    metrics = Metrics()

    show_settings(metrics, SETTINGS)

    sample = metrics.registry.get_sample_value
    assert sample("ourvidz_model_budget_bytes", {"model": "sdxl"}) == 12 * 2**30
    assert sample("ourvidz_model_budget_bytes", {"model": "wan"}) is None

    wan = load_settings(None, {"worker_type": "wan", "database": {"dsn": "postgresql://x/y"}})
    show_settings(metrics, wan)
    assert sample("ourvidz_model_budget_bytes", {"model": "sdxl"}) is None
    assert sample("ourvidz_model_budget_bytes", {"model": "wan"}) == 6 * 2**30
