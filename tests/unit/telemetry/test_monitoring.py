"""The alerts ask for series that exist."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from daemon.telemetry.metrics import Metrics
from daemon.values import Backlog
from daemon.wakeups.link import Link
from daemon.wakeups.record import SourceRecord

MONITORING = Path(__file__).parents[3] / "monitoring"

RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]


def series() -> dict[str, list[dict[str, str]]]:
    """Return every series of a worker to which everything happened once, with its labels."""
    metrics = Metrics()
    metrics.jobs_claimed("chat")
    metrics.job_finished("chat", "completed", 1.0)
    metrics.queue_counted([Backlog("chat", 1, 0, 2.0)])
    metrics.wakeup_source("realtime", SourceRecord("realtime").state(Link(0), 0) | {"proven": 1})
    metrics.store_call("claim", 0.01)
    metrics.model_state("chat", "loaded")
    metrics.vram(0, {"capacity": 4, "reserve": 1, "weights": 1, "reserved": 1})
    found: dict[str, list[dict[str, str]]] = {"up": [{"job": "ourvidz-worker"}]}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alert_asks_for_series_that_exist(rule: dict[str, Any]) -> None:
    """Each metric exists, and each label value that is asked for occurs in it."""
    existing = series()
    asked = re.findall(r"\b(up|ourvidz_\w+)(?:\{([^}]*)\})?", rule["expr"])

    assert asked
    for name, selectors in asked:
        for label, operator, value in re.findall(r'(\w+)(=~?)"([^"]*)"', selectors):
            values = {labels.get(label) for labels in existing[name]}
            wanted = value.split("|") if operator == "=~" else [value]
            assert set(wanted) <= values, (name, label)
        assert name in existing


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alert_says_what_it_means(rule: dict[str, Any]) -> None:
    """A constant summary to group by, a description with labels, a severity to route by."""
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert "{{" not in rule["annotations"]["summary"]
    assert "{{" in rule["annotations"]["description"]


def test_scrape_example_fits_the_server() -> None:
    """The example scrapes the path and port that the server has, and loads the alerts."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    scrape = config["scrape_configs"][0]

    assert config["rule_files"] == ["alerts.yml"]
    assert scrape["metrics_path"] == "/metrics"
    assert scrape["job_name"] == "ourvidz-worker"
    assert scrape["static_configs"][0]["targets"][0].endswith(":7861")
