"""The file of learned figures: what goes in comes out, and garbage never gets further."""

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from virtual_gpu import ALL, SDXL, device, request

from daemon.learned_file import NAME, Learned, LearnedFileError, read_learned, write_learned
from daemon.scheduling.figures import Figures, Learner
from daemon.scheduling.models import GIB
from daemon.scheduling.scheduler import Scheduler
from daemon.values import Loaded

NOW = datetime(2026, 8, 1, tzinfo=UTC)
BYTES = st.integers(0, 2**60)
SECONDS = st.floats(0, allow_nan=False, allow_infinity=False)
QUALITIES = st.sampled_from(["fast", "high", "odd"])
FIGURES = st.builds(
    Figures,
    weights=st.lists(st.integers(0, 80 * GIB), max_size=8).map(tuple),
    peaks=st.dictionaries(
        st.tuples(QUALITIES, st.integers(0, 2**40), st.integers(1, 64)),
        st.lists(BYTES, min_size=1, max_size=64).map(tuple),
    ),
    runs_s=st.dictionaries(QUALITIES, st.lists(SECONDS, min_size=1, max_size=64).map(tuple)),
    moves_s=st.dictionaries(
        st.sampled_from(["load", "unload", "restore", "offload", "odd"]),
        st.lists(SECONDS, min_size=1, max_size=64).map(tuple),
    ),
)


@pytest.fixture(scope="module")
def folder() -> Any:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def scheduler() -> Scheduler:
    return Scheduler(ALL, [device(24)], max_pass_over_s=60)


def works(one: Scheduler) -> None:
    """Let a scheduler load, run and end something, with its books checked."""
    one.submit(request("a", "sdxl"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 1.0), 1)
    assert set(one.state.runs) == {"a"}
    assert one.state.runs["a"].promised <= SDXL.budget_bytes - SDXL.weights_bytes
    one.run_ended("a", 2)
    one.snapshot(3)
    one.state.ledgers[0].check()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(figures=FIGURES)
def test_what_is_written_is_read(folder: Path, figures: Figures) -> None:
    """Whatever a scheduler may have seen: the file is one that is believed, and is the same."""
    learned = Learned.of(figures, NOW, {"gpu": "one"})
    write_learned(folder, {"sdxl": learned})
    assert read_learned(folder) == {"sdxl": learned}

    credible = [each <= 2**50 for seen in figures.peaks.values() for each in seen]
    short = [each <= 1e6 for seen in figures.runs_s.values() for each in seen]
    short += [each <= 1e6 for seen in figures.moves_s.values() for each in seen]
    if all(credible + short):
        assert learned.figures() == figures


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(["sdxl", "wan", "flux"]), FIGURES))
def test_whatever_the_file_says_the_scheduler_works(learned: dict[str, Figures]) -> None:
    """Figures are expectations: the books are right with all of them, and work goes on."""
    one = scheduler()
    believed = {name: Learned.of(each, NOW, {}).figures() for name, each in learned.items()}
    Learner(one.state).recall(believed)
    weights = believed.get("sdxl", Figures()).weights
    if max((*weights, 0)) <= SDXL.weights_bytes:
        works(one)
    for model in ALL:
        assert one.state.estimates.weights(model.name) <= model.budget_bytes
        for quality in model.qualities:
            assert one.state.ever_fits(model.name, quality)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage=st.binary() | st.text().map(str.encode))
def test_garbage_is_refused(folder: Path, garbage: bytes) -> None:
    """With a sentence, never with another error."""
    (folder / NAME).write_bytes(garbage)
    with pytest.raises(LearnedFileError, match=r"."):
        read_learned(folder)


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(figures=FIGURES, value=JSON_LIKE, data=st.data())
def test_one_wrong_value_is_refused_or_harmless(
    folder: Path, figures: Figures, value: Any, data: st.DataObject
) -> None:
    """Anything in the place of anything else: the file is refused whole, or works."""
    learned = Learned.of(figures, NOW, {"gpu": "one"})
    whole = {"version": 1, "models": {"sdxl": json.loads(learned.model_dump_json())}}
    place: Any = whole
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        place = inner
    place[key] = value
    (folder / NAME).write_text(json.dumps(whole))
    try:
        believed = read_learned(folder)
    except LearnedFileError:
        return
    one = scheduler()
    Learner(one.state).recall({name: each.figures() for name, each in believed.items()})
    one.snapshot(0)
    one.submit(request("a", "sdxl"), 0)
    one.state.ledgers[0].check()
