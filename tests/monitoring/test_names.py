"""Every name, label and value that is asked for anywhere is there."""

import re
from pathlib import Path

import pytest
from monitoring_files import MATCHER, ROOT, SERIES, Query, drawn, exposed, recorded, ruled

EXPOSED = exposed()
QUERIES = [*drawn(), *ruled()]
OF_SCRAPES = {"job", "instance"}
"""Labels that Prometheus adds."""

TEXTS = [
    path
    for folder in (".", "docs", "monitoring", "benchmarks", "systemd", "tests/monitoring")
    for path in sorted((ROOT / folder).glob("*"))
    if path.suffix in {".md", ".yml"}
]

ENDINGS = ("", "_total", "_bucket", "_sum", "_count")
OTHERS = {"ourvidz_worker", "ourvidz_now", "ourvidz_canary"}
"""Names of the database's role and tables, which look alike."""


def existing(query: Query) -> set[str]:
    """Return the labels that the series of a query have."""
    names = [name for name, _ in SERIES.findall(query.expr)]
    labels = {label.name for name in names if name != "up" for label in EXPOSED[name].labels}
    return labels | OF_SCRAPES | ({"le"} if "_bucket" in query.expr else set())


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_series_exist(query: Query) -> None:
    """Each series of a query, with each label and value that it is asked for."""
    asked = SERIES.findall(query.expr)
    figures = set(re.findall(r"[\w]+:\w+:\w+", query.expr))

    assert asked or figures or "ALERTS" in query.expr
    assert figures <= recorded()
    for name, matchers in asked:
        if name == "up":
            continue
        labels = {label.name: label for label in EXPOSED[name].labels}
        for label, operator, value in MATCHER.findall(matchers):
            if label in OF_SCRAPES:
                continue
            wanted = value.split("|") if "~" in operator else [value]
            assert label in labels, (name, label)
            assert set(wanted) <= set(labels[label].values), (name, label)


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_sums_are_by_labels_that_exist(query: Query) -> None:
    """A label that nothing has would melt all series into one, silently."""
    if ":" in re.sub(r'"[^"]*"', "", query.expr):
        return  # a recorded figure's labels are its own rule's
    by = {
        name.strip()
        for names in re.findall(r"by \(([^)]*)\)", query.expr)
        for name in names.split(",")
        if name.strip()
    }

    assert by <= existing(query)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_in_texts_exist(path: Path) -> None:
    """What the documents name can be asked for; a name that ends in a mark stands for several."""
    text = path.read_text()
    if path.name == "CHANGELOG.md":
        text = text.split("\n## [Unreleased]\n")[1].split("\n## [")[0]
    known = set(EXPOSED) | {each.name for each in EXPOSED.values()}
    for name in set(re.findall(r"(?<![\w:.])ourvidz_[a-z_]+(?![\w:(*…])", text)) - OTHERS:
        begins = any(each.startswith(name) for each in known) if name.endswith("_") else False
        assert name in known or begins, name


def test_all_that_is_measured_is_drawn_or_ruled() -> None:
    """A metric that no panel and no rule shows is dead weight; these few are for other readers."""
    shown = {name for query in QUERIES for name, _ in SERIES.findall(query.expr)}
    unseen = {each.name for name, each in EXPOSED.items()} - {
        EXPOSED[name].name for name in shown if name in EXPOSED
    }

    documented = {
        "ourvidz_jobs_processed",
        "ourvidz_average_generation_time",
        "ourvidz_success_rate",
        "ourvidz_gpu_utilization",
        "ourvidz_memory_usage",
        "ourvidz_system_prompt_respect_rate",
    }
    of_variables = {"ourvidz_worker_info"}
    assert unseen - documented - of_variables == {
        "ourvidz_jobs_claimed_total",
        "ourvidz_wakeup_source_ready",
    }
