"""Residency: the whole transition table, and the pauses between failed loads."""

from itertools import product

import pytest
from virtual_gpu import SDXL

from daemon.jobs import ErrorCode
from daemon.scheduling.residency import BackOff, Change, Placement, Residency, TransitionError

ALLOWED = {
    (Residency.COLD, Change.LOAD): Residency.LOADING,
    (Residency.LOADING, Change.LOADED): Residency.RESIDENT,
    (Residency.LOADING, Change.FAILED): Residency.COLD,
    (Residency.RESIDENT, Change.OFFLOAD): Residency.OFFLOADING,
    (Residency.OFFLOADING, Change.OFFLOADED): Residency.HOST,
    (Residency.HOST, Change.LOAD): Residency.LOADING,
    (Residency.RESIDENT, Change.EVICT): Residency.EVICTING,
    (Residency.OFFLOADING, Change.EVICT): Residency.EVICTING,
    (Residency.HOST, Change.EVICT): Residency.EVICTING,
    (Residency.EVICTING, Change.GONE): Residency.COLD,
}


@pytest.mark.parametrize(("residency", "change"), list(product(Residency, Change)))
def test_each_change_follows_the_table(residency: Residency, change: Change) -> None:
    """What the table has happens, everything else is an error and changes nothing."""
    placement = Placement(SDXL, 0, residency)
    expected = ALLOWED.get((residency, change))

    if expected is None:
        with pytest.raises(TransitionError, match=f"sdxl on device 0 is {residency}: no {change}"):
            placement.advance(change)
        assert placement.residency is residency
    else:
        placement.advance(change)
        assert placement.residency is expected


def test_pauses_double_up_to_the_cap() -> None:
    """5, 10, 20, 40, 60, 60 seconds; a success starts again."""
    back_off = BackOff()
    pauses = []
    for now in range(0, 600, 100):
        back_off.failed(ErrorCode.MODEL_LOAD_FAILED, "no file", now)
        pauses.append(back_off.until_s - now)

    assert pauses == [5, 10, 20, 40, 60, 60]
    assert back_off.active(559.9)
    assert not back_off.active(560)
    back_off.succeeded()
    assert not back_off.active(0)
