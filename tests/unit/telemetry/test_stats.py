"""The figures of `/status`."""

from daemon.telemetry.stats import Performance, RunStats


def test_nothing_is_claimed_before_the_first_run() -> None:
    """No runs, no average and no rate."""
    assert RunStats().performance() == Performance(0, 0, None, None)


def test_documented_figures() -> None:
    """150 completed in 18.5 s each and 3 failed are a success rate of 98.0."""
    stats = RunStats()
    for _ in range(150):
        stats.completed(18.5)
    for _ in range(3):
        stats.failed()

    assert stats.performance() == Performance(150, 3, 18.5, 98.0)


def test_average_follows_a_change() -> None:
    """The average forgets what is 200 runs ago; the counts forget nothing."""
    stats = RunStats()
    for seconds in [100.0] * 300 + [1.0] * 200:
        stats.completed(seconds)

    assert stats.performance() == Performance(500, 0, 1.0, 100.0)
