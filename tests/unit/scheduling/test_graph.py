"""What a device may hold and run from one moment to the next, by hand."""

import pytest
from virtual_gpu import SDXL, VIDEO, WAN

from daemon.scheduling.graph import Graph, Holding, TooLargeError, graph_of
from daemon.scheduling.models import GIB, ModelSpec

MOST = {("sdxl", "fast"): 9, ("sdxl", "high"): 9, ("video", "fast"): 9, ("video", "high"): 9}


def graph(gb: float = 23, **load_steps: int) -> Graph:
    return graph_of([SDXL, VIDEO], int(gb * GIB), {"sdxl": 2, "video": 3, **load_steps}, MOST)


def following(found: Graph, ready: str = "", loading: str = "", seen: int = 0) -> set[str]:
    """Return what may be seen a step later, in short."""
    at = found.states.index(Holding(frozenset(ready.split()), loading, seen))
    return {
        _short(state)
        for state, before in zip(found.states, found.before, strict=True)
        if at in before
    }


def _short(state: Holding) -> str:
    coming = f"+{state.loading}{state.seen}" if state.loading else ""
    return " ".join(sorted(state.ready)) + coming


def mixes(found: Graph, ready: str, loading: str = "", seen: int = 0) -> set[tuple[int, ...]]:
    at = found.states.index(Holding(frozenset(ready.split()), loading, seen))
    return set(found.mixes[at])


def test_a_load_is_seen_as_often_as_it_has_steps() -> None:
    """Before that nothing of the model runs; meanwhile others may go, and none may come."""
    found = graph()

    assert following(found) == {"", "+sdxl1", "+video1"}
    assert following(found, "", "sdxl", 1) == {"+sdxl2"}
    assert following(found, "sdxl", "video", 1) == {"sdxl+video2", "+video2"}


def test_after_a_load_the_next_may_be_under_way_at_once() -> None:
    """The moments in between aren't looked at."""
    assert following(graph(), "", "sdxl", 2) == {"sdxl", "", "+sdxl1", "+video1", "sdxl+video1"}


def test_what_does_not_fit_is_never_held() -> None:
    """Not even while it comes."""
    found = graph(gb=18)

    assert not any(len(state.ready | {state.loading} - {""}) > 1 for state in found.states)
    assert following(found, "sdxl") == {"sdxl", "", "+sdxl1", "+video1"}


def test_a_load_that_is_shorter_than_a_step_takes_no_time() -> None:
    """Which allows more than can be, never less."""
    found = graph(sdxl=0)

    assert following(found) == {"", "sdxl", "+video1", "sdxl+video1"}
    assert {_short(found.states[at]) for at in found.first} == following(found)


def test_mixes_keep_to_bytes_budgets_and_slots() -> None:
    """Fast and high of SDXL beside one another exceed its budget; video leaves it no room."""
    found = graph()

    assert mixes(found, "sdxl") == {(2, 0, 0, 0), (0, 1, 0, 0)}
    assert mixes(found, "sdxl video") == {(2, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)} - {(0, 1, 0, 0)}
    assert mixes(found, "sdxl", "video", 1) == {(2, 0, 0, 0)}
    assert mixes(graph(gb=48), "sdxl video") == {
        (2, 0, 1, 0), (2, 0, 0, 1), (0, 1, 1, 0), (0, 1, 0, 1),
    }  # fmt: skip


def test_nobody_needs_more_slots_than_there_are_jobs() -> None:
    """So that graphs of wide models stay small."""
    found = graph_of([WAN], 23 * GIB, {"wan": 1}, {("wan", "fast"): 1, ("wan", "high"): 0})

    assert mixes(found, "wan") == {(1, 0)}


def test_a_graph_has_a_largest_size() -> None:
    """Beyond it the caller does without."""
    models = [ModelSpec(f"m{number}", 1, 0, 1, {}) for number in range(10)]
    steps = {model.name: 3 for model in models}

    with pytest.raises(TooLargeError, match="states"):
        graph_of(models, GIB, steps, {})
