"""Rules: each alert fires and ends as its tests say, tells what it means, and what to do."""

import re
from typing import Any

import pytest
import yaml
from monitoring_files import MONITORING, ROOT, Promtool, rules

from daemon.telemetry.series.labels import OUTCOME

ALERTS = [pytest.param(rule, id=rule["alert"]) for rule in rules() if "alert" in rule]
TESTS = ROOT / "tests/monitoring/rules_test.yml"

HEADINGS = re.findall(r"^## (.+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)


def test_rules_are_sound(promtool: Promtool) -> None:
    """Prometheus takes them, and would load them by the configuration."""
    said = promtool("check", "rules", *sorted((MONITORING / "rules").glob("*.yml")))

    assert said.count("SUCCESS") == 2
    # The key is a file of the operator's own, so that only the syntax can be judged.
    config = MONITORING / "prometheus.yml"
    assert "SUCCESS" in promtool("check", "config", "--syntax-only", config)


def test_alerts_fire_and_end(promtool: Promtool) -> None:
    """Prometheus' own evaluation of every alert and figure over made-up series."""
    assert "SUCCESS" in promtool("test", "rules", TESTS)


@pytest.mark.parametrize("rule", ALERTS)
def test_alert_is_tested_to_fire_and_to_end(rule: dict[str, Any]) -> None:
    """No alert goes untested: once it fires, before that and after that it doesn't."""
    cases = [
        case
        for group in yaml.safe_load(TESTS.read_text())["tests"]
        for case in group.get("alert_rule_test", [])
        if case["alertname"] == rule["alert"]
    ]

    assert [bool(case["exp_alerts"]) for case in cases] == [False, True, False]
    fired = cases[1]["exp_alerts"][0]
    assert fired["exp_labels"].items() >= rule["labels"].items()
    assert set(fired["exp_annotations"]) == set(rule["annotations"])


@pytest.mark.parametrize("rule", [rule for rule in rules() if "record" in rule], ids=str)
def test_figure_is_tested(rule: dict[str, Any]) -> None:
    """No recorded figure goes untested, nor an alert's one."""
    assert rule["record"] in TESTS.read_text()


@pytest.mark.parametrize("rule", ALERTS)
def test_alert_says_what_it_means(rule: dict[str, Any]) -> None:
    """A constant summary to group by, a description with labels, a severity to route by."""
    notes = rule["annotations"]
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["labels"]["service"] == "ourvidz-worker"
    assert "{{" not in notes["summary"]
    assert "{{" in notes["description"]
    assert set(notes) == {"summary", "description", "runbook_url"}


@pytest.mark.parametrize("rule", ALERTS)
def test_alert_has_a_section_of_the_runbook(rule: dict[str, Any]) -> None:
    """The address leads to a heading that is there, of the alert's own name."""
    page, anchor = rule["annotations"]["runbook_url"].split("#")

    assert page == "docs/runbook.md"
    assert anchor == rule["alert"].lower()
    assert rule["alert"] in HEADINGS


def test_alerts_are_few_and_the_runbook_has_no_others() -> None:
    """Twelve at the most; a section without an alert is stale."""
    names = [param.values[0]["alert"] for param in ALERTS]

    assert len(names) <= 12
    assert names == HEADINGS


@pytest.mark.parametrize("alert", HEADINGS)
def test_section_says_all_that_is_needed(alert: str) -> None:
    """What is seen, what it means, how to look, what to do, in this order."""
    text = (ROOT / "docs/runbook.md").read_text()
    section = text.split(f"\n## {alert}\n")[1].split("\n## ")[0]

    words = re.findall(r"^\*\*(\w+)\.\*\*", section, re.MULTILINE)
    assert words == ["Seen", "Means", "Look", "Do"]


def test_scrape_fits_the_server() -> None:
    """It asks the path and port that the server has, and loads the rules and the workers' list."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    scrape = config["scrape_configs"][0]
    [listed] = scrape["file_sd_configs"][0]["files"]
    [workers] = MONITORING.glob(listed)

    assert config["rule_files"] == ["rules/*.yml"]
    assert scrape["metrics_path"] == "/metrics"
    assert scrape["job_name"] == "ourvidz-worker"
    assert yaml.safe_load(workers.read_text())[0]["targets"][0].endswith(":7861")


def test_the_runbook_looks_for_lines_that_are_logged() -> None:
    """Each phrase that it searches a log for is one that the daemon writes."""
    text = (ROOT / "docs/runbook.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "daemon").rglob("*.py"))
    phrases = [
        phrase
        for pattern in re.findall(r"^logs \| grep -E '([^']+)'", text, re.MULTILINE)
        for phrase in pattern.split("|")
    ]

    assert len(phrases) > 10
    for phrase in phrases:
        # Of the ends of jobs the word is filled in.
        kind, _, word = phrase.partition(" ")
        assert phrase in sources or (kind == "job" and word in OUTCOME.values), phrase
