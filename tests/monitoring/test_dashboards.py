"""Dashboards can be imported and read: nothing overlaps, all has a unit and says what it is."""

import re
from pathlib import Path
from typing import Any

import pytest
from monitoring_files import DASHBOARDS, board, panels

ANY = [
    pytest.param(panel, id=f"{path.stem}: {panel['title']}")
    for path in DASHBOARDS
    for panel in panels(path)
]

UNITS = {"short", "s", "bytes", "Bps", "percentunit", "reqps", "celsius", "watt"}
"""Grafana's names of the units that are used."""

KINDS = {"stat", "timeseries", "state-timeline"}


@pytest.fixture(params=DASHBOARDS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    """Each dashboard in turn."""
    found: Path = request.param
    return found


def test_panels_fill_the_grid(path: Path) -> None:
    """No two panels share a place, none leaves the 24 columns, and no line has a gap."""
    taken: dict[tuple[int, int], str] = {}
    for panel in board(path)["panels"]:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]

    lines = {y for _, y in taken}
    assert lines == set(range(len(lines)))
    assert set(taken) == {(x, y) for x in range(24) for y in lines}


def test_dashboard_is_importable(path: Path) -> None:
    """Grafana 11's schema, no number of a database's own, a stable uid, distinct panels."""
    found = board(path)

    assert found["schemaVersion"] == 39
    assert found.get("id") is None
    assert re.fullmatch(r"[a-z-]{3,40}", found["uid"])
    assert found["title"]
    assert found["description"]
    numbers = [panel["id"] for panel in found["panels"]]
    assert len(set(numbers)) == len(numbers)
    titles = [panel["title"] for panel in found["panels"]]
    assert len(set(titles)) == len(titles)


def test_dashboards_differ() -> None:
    """Two imports don't overwrite each other."""
    assert len({board(path)["uid"] for path in DASHBOARDS}) == len(DASHBOARDS) == 2


def test_variables_pick_source_and_workers(path: Path) -> None:
    """The data source is a variable; each further one depends on those before it."""
    variables = {each["name"]: each for each in board(path)["templating"]["list"]}

    assert list(variables) == ["datasource", "job", "worker_type", "instance"]
    source = variables.pop("datasource")
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    before = ["datasource"]
    for name, variable in variables.items():
        assert variable["type"] == "query"
        assert variable["datasource"]["uid"] == "${datasource}"
        assert variable["multi"]
        assert variable["includeAll"]
        asked = re.findall(r"\$(\w+)", variable["query"])
        assert set(asked) <= set(before)
        before.append(name)


@pytest.mark.parametrize("panel", ANY)
def test_panel_can_be_read(panel: dict[str, Any]) -> None:
    """A title, a sentence, a unit, a legend by labels, thresholds that begin somewhere."""
    defaults = panel["fieldConfig"]["defaults"]
    steps = defaults["thresholds"]["steps"]

    assert panel["type"] in KINDS
    assert panel["description"].endswith(".")
    assert defaults["unit"] in UNITS
    assert steps[0]["value"] is None
    assert [step["value"] for step in steps[1:]] == sorted(step["value"] for step in steps[1:])
    if panel["type"] == "timeseries":
        assert panel["options"]["legend"]["showLegend"]
        assert {"lastNotNull", "max"} == set(panel["options"]["legend"]["calcs"])


@pytest.mark.parametrize("panel", ANY)
def test_panel_asks_its_variables(panel: dict[str, Any]) -> None:
    """Every query goes to the chosen source and picks the chosen workers."""
    refs = [target["refId"] for target in panel["targets"]]
    assert refs == sorted(set(refs))
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        assert target["datasource"]["uid"] == "${datasource}"
        assert "{*" not in target["expr"]
        for name, matchers in re.findall(r"\b(ourvidz_\w+)(\{[^}]*\})?", target["expr"]):
            if name != "ourvidz_worker":  # part of the service's name
                assert 'job=~"$job",instance=~"$instance"' in matchers, (target["expr"], name)


@pytest.mark.parametrize("panel", ANY)
def test_legend_names_what_differs(panel: dict[str, Any]) -> None:
    """A legend uses labels that the query keeps, and all of those that it sums by."""
    for target in panel["targets"]:
        named = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
        kept = re.match(r"(?:60 \* )?(?:sum|max|min) by \(([^)]*)\)", target["expr"])
        if kept is not None:
            labels = {name.strip() for name in kept[1].split(",") if name.strip()}
            assert named == labels, target["expr"]
        if len(panel["targets"]) > 1:
            assert target["legendFormat"]
    assert len({target.get("legendFormat") for target in panel["targets"]}) == len(panel["targets"])
