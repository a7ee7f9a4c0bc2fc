"""The ledger: what it promises, what it refuses."""

from collections.abc import Callable

import pytest

from daemon.scheduling.models import DeviceSpec
from daemon.scheduling.vram import HostLedger, Ledger, VramInvariantError


def ledger(usable: int = 100) -> Ledger:
    return Ledger(DeviceSpec(0, usable + 10, 10))


def test_the_reserve_is_never_promised() -> None:
    """Capacity minus reserve is all that there is."""
    book = ledger(100)
    book.hold_weights("a", 100, budget=200)

    assert book.free_bytes == 0
    with pytest.raises(VramInvariantError, match="1 bytes beside 100 held and 0 used by"):
        book.hold_weights("b", 1, budget=200)


def test_weights_and_runs_of_a_model_stay_within_its_budget() -> None:
    """A budget binds although the device has room."""
    book = ledger(100)
    book.hold_weights("a", 30, budget=50)
    book.reserve("1", "a", 15)

    assert book.room_of("a") == 5
    with pytest.raises(VramInvariantError, match="6 bytes beside 30 of weights and 15 reserved"):
        book.reserve("2", "a", 6)


def test_runs_of_two_models_share_the_device() -> None:
    """What one reserves, the other can't."""
    book = ledger(100)
    book.hold_weights("a", 30, budget=100)
    book.hold_weights("b", 30, budget=100)
    book.reserve("1", "a", 35)

    assert book.room_of("b") == 5
    with pytest.raises(VramInvariantError):
        book.reserve("2", "b", 6)


def test_measured_weights_replace_the_expected_ones() -> None:
    """Smaller ones give bytes back, larger ones take what is free."""
    book = ledger(100)
    book.hold_weights("a", 30, budget=60)

    assert book.settle_weights("a", 20)
    assert book.free_bytes == 80


@pytest.mark.parametrize(("measured", "others"), [(61, 0), (55, 50)])
def test_weights_that_do_not_fit_are_held_all_the_same(measured: int, others: int) -> None:
    """Above the budget, or above what is free: they are taken until they are gone."""
    book = ledger(100)
    book.hold_weights("a", 30, budget=60)
    book.hold_weights("b", others, budget=60)

    assert not book.settle_weights("a", measured)
    assert book.free_bytes == 100 - measured - others
    book.check()
    book.release_model("a")
    assert book.free_bytes == 100 - others


def test_a_model_that_is_gone_takes_its_reservations_with_it() -> None:
    """A dead engine's runs free nothing before it is gone, and everything then."""
    book = ledger(100)
    book.hold_weights("a", 30, budget=60)
    book.reserve("1", "a", 10)
    book.release_model("a")

    assert book.free_bytes == 100
    with pytest.raises(VramInvariantError):
        book.release("1", "a")


@pytest.mark.parametrize(
    "act",
    [
        lambda book: book.hold_weights("a", 1, budget=1),
        lambda book: book.hold_weights("b", 2, budget=1),
        lambda book: book.reserve("1", "a", 1),
        lambda book: book.reserve("2", "b", 1),
        lambda book: book.release("2", "a"),
        lambda book: book.settle_weights("a", 30),
        lambda book: book.settle_weights("b", 30),
        lambda book: book.release_model("b"),
    ],
)
def test_what_makes_no_sense_is_an_error(act: Callable[[Ledger], object]) -> None:
    """Holding twice, reserving twice or for an absent model, returning what nobody holds."""
    book = ledger(100)
    book.hold_weights("a", 30, budget=60)
    book.reserve("1", "a", 1)

    with pytest.raises(VramInvariantError):
        act(book)
    book.check()


def test_check_notices_sums_that_went_wrong() -> None:
    """The kept sums are compared with the single entries."""
    book = ledger(100)
    book.hold_weights("a", 30, budget=60)
    book.reserve("1", "a", 1)
    book._held -= 1

    with pytest.raises(VramInvariantError, match="30 bytes kept, 31 counted"):
        book.check()
    book._accounts["a"].reserved = 0
    with pytest.raises(VramInvariantError, match="0 kept, 1 counted"):
        book.check()


def test_check_notices_weights_that_were_kept_wrongly() -> None:
    """What policies are told must be what is held."""
    book = ledger(100)
    book.hold_weights("a", 30, budget=60)
    book._weights["a"] = 29

    with pytest.raises(VramInvariantError, match="a: 29 bytes of weights kept"):
        book.check()


def test_check_notices_a_model_above_its_budget() -> None:
    """A budget that was passed behind the ledger's back."""
    book = ledger(100)
    book.hold_weights("a", 30, budget=60)
    book._accounts["a"].budget = 20

    with pytest.raises(VramInvariantError, match="more than 20 bytes"):
        book.check()


def test_what_others_use_is_not_promised() -> None:
    """Neither to weights nor to runs; what was promised before stays."""
    book = ledger(100)
    book.hold_weights("a", 50, budget=90)
    book.outside_bytes = 30

    assert (book.free_bytes, book.room_of("a")) == (20, 20)
    with pytest.raises(VramInvariantError, match="30 used by others"):
        book.reserve("1", "a", 21)
    with pytest.raises(VramInvariantError, match="30 used by others"):
        book.hold_weights("b", 21, budget=90)
    book.outside_bytes = 60
    assert book.free_bytes == -10
    book.check()


def test_offloaded_weights_keep_only_what_their_engine_keeps() -> None:
    """The rest is free at once, and comes back with the next load."""
    book = ledger(100)
    book.hold_weights("a", 60, budget=90)
    book.offload("a", 5)
    assert (book.weights_of("a"), book.free_bytes) == (5, 95)
    with pytest.raises(VramInvariantError, match="isn't here"):
        book.reserve("1", "a", 1)
    book.hold_weights("a", 60, budget=90)

    assert (book.weights_of("a"), book.free_bytes) == (60, 40)
    assert book.settle_weights("a", 61)
    book.check()


def test_an_engine_that_says_it_kept_more_than_it_had_gives_nothing_back() -> None:
    """Its word isn't worth more than the ledger."""
    book = ledger(100)
    book.hold_weights("a", 60, budget=90)
    book.offload("a", 70)

    assert book.free_bytes == 40
    book.check()


def test_what_an_engine_kept_counts_until_its_load_is_measured() -> None:
    """Although a load was expected to take less: the ledger never holds less than is there."""
    book = ledger(100)
    book.hold_weights("a", 60, budget=90)
    book.offload("a", 50)
    book.hold_weights("a", 40, budget=90)

    assert (book.weights_of("a"), book.free_bytes) == (50, 50)
    book.check()


def test_an_overrun_is_given_back_with_the_weights_that_leave() -> None:
    """An engine that took too much holds it until it is offloaded or gone."""
    book = ledger(100)
    book.hold_weights("a", 30, budget=60)
    assert not book.settle_weights("a", 70)
    book.offload("a", 5)

    assert (book.weights_of("a"), book.free_bytes) == (5, 95)
    book.check()


def test_weights_with_runs_cannot_be_offloaded() -> None:
    """The runs compute on them."""
    book = ledger(100)
    book.hold_weights("a", 60, budget=90)
    book.reserve("1", "a", 1)
    with pytest.raises(VramInvariantError, match="can't leave device 0"):
        book.offload("a", 0)


def test_the_host_takes_weights_as_long_as_there_is_room() -> None:
    """Measured ones may be larger than expected: they are there, and nobody else comes."""
    host = HostLedger(100)
    host.hold("a", 0, 60)
    with pytest.raises(VramInvariantError, match="40 of 100 are free"):
        host.hold("b", 0, 41)
    host.hold("a", 0, 110)

    assert (host.held_by("a", 0), host.free_bytes) == (110, -10)
    host.release("a", 0)
    host.release("a", 0)
    assert host.free_bytes == 100
