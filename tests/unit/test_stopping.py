"""What signals ask for: two steps of stopping, and a reload."""

from daemon.stopping import Stopping


def test_sighup_asks_for_a_reload() -> None:
    """It is no step of stopping, however often it comes."""
    stopping = Stopping(reloads=True)
    stopping.hang_up()
    stopping.hang_up()
    assert (stopping.reload.is_set(), stopping.soft.is_set()) == (True, False)


def test_sighup_stops_where_there_is_nothing_to_reload() -> None:
    """The soft step, once: a second one is no impatience."""
    stopping = Stopping()
    stopping.hang_up()
    stopping.hang_up()
    assert (stopping.soft.is_set(), stopping.hard.is_set()) == (True, False)


def test_the_second_step_is_the_hard_one() -> None:
    """SIGINT and SIGTERM count alike, with a reload between them."""
    stopping = Stopping(reloads=True)
    stopping.step()
    stopping.hang_up()
    assert (stopping.soft.is_set(), stopping.hard.is_set()) == (True, False)
    stopping.step()
    assert stopping.hard.is_set()


def test_who_listens_for_a_block_is_forgotten_after_it() -> None:
    """Parts that were replaced must not be kept alive by it."""
    stopping = Stopping()
    told: list[str] = []
    with stopping.telling(lambda: told.append("parts")):
        pass
    stopping.on_soft(lambda: told.append("always"))
    stopping.step()
    assert told == ["always"]
