"""Rungs: what is tried next when a run runs out of memory, and what each of them changes."""

import pytest

from daemon.memory_ladder import AS_ASKED, Rung
from daemon.values import AdmissionRequest
from handlers.base import Saving

REQUEST = AdmissionRequest("a", "sdxl", "fast", "user", 1.0, alone=True, size=4096, priority=2)
PARAMS = {"prompt": "a lake", "steps": 4}


def rungs(savings: int) -> list[Rung]:
    """Return everything that is tried, in order, for a model that can save so far."""
    tried: list[Rung] = []
    rung: Rung | None = AS_ASKED
    while rung is not None:
        tried.append(rung)
        rung = rung.below(savings)
    return tried


@pytest.mark.parametrize(
    ("savings", "below"),
    [
        (0, []),
        (1, [Saving.TILED]),
        (2, [Saving.TILED, Saving.OFFLOADED]),
    ],
)
def test_each_rung_is_tried_once(savings: int, below: list[Saving]) -> None:
    """As asked, alone on the device, then as far as the model can save."""
    alone = [Rung(exclusive=True, saving=saving) for saving in (Saving.NONE, *below)]

    assert rungs(savings) == [Rung(), *alone]


def test_the_first_rung_changes_nothing() -> None:
    """What was asked for goes through as it is."""
    assert AS_ASKED.request(REQUEST) is REQUEST
    assert AS_ASKED.params(PARAMS) is PARAMS


def test_lower_rungs_ask_for_the_device_alone() -> None:
    """The wish is the same but for that; the parameters are the same until something is saved."""
    _, alone, tiled, offloaded = rungs(2)

    for rung in (alone, tiled, offloaded):
        wish = rung.request(REQUEST)
        assert wish.exclusive
        assert (wish.id, wish.alone, wish.size, wish.priority) == ("a", True, 4096, 2)
    assert alone.params(PARAMS) == PARAMS
    assert tiled.params(PARAMS) == {**PARAMS, "saving": 1}
    assert offloaded.params(PARAMS) == {**PARAMS, "saving": 2}
    assert "saving" not in PARAMS


def test_a_rung_says_what_was_tried() -> None:
    """The words end up in the row's error."""
    assert [rung.words for rung in rungs(2)[1:]] == [
        "also alone on the device",
        "also alone on the device and tiled",
        "also alone on the device and offloaded",
    ]
