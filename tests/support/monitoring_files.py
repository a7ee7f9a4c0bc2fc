"""What is asked of Prometheus by dashboards and rules, and what there is to be asked for."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from daemon.telemetry.metrics import Metrics
from daemon.telemetry.series.register import Described

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))

Promtool = Callable[..., str]
"""Runs Prometheus' tool with arguments, and returns what it says."""

SERIES = re.compile(r"(?<![\w:])(up|ourvidz_\w+)\b(?:\{([^}]*)\})?")
"""A series in a query, and its matchers; names with colons are recorded ones."""
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')


@dataclass(frozen=True)
class Query:
    """An expression, and where it stands."""

    where: str
    expr: str

    def __str__(self) -> str:
        return self.where


def board(path: Path) -> dict[str, Any]:
    """Return a dashboard."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def panels(path: Path) -> list[dict[str, Any]]:
    """Return a dashboard's panels, without its rows' headings."""
    return [panel for panel in board(path)["panels"] if panel["type"] != "row"]


def drawn() -> Iterator[Query]:
    """Return the queries of all panels."""
    for path in DASHBOARDS:
        for panel in panels(path):
            for target in panel["targets"]:
                yield Query(f"{path.stem}: {panel['title']} {target['refId']}", target["expr"])


def rules() -> list[dict[str, Any]]:
    """Return all rules, alerts and recorded figures."""
    return [
        rule
        for path in sorted((MONITORING / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def ruled() -> Iterator[Query]:
    """Return the queries of all rules."""
    for rule in rules():
        yield Query(f"rule {rule.get('alert') or rule['record']}", rule["expr"])


def recorded() -> set[str]:
    """Return the names of recorded figures."""
    return {rule["record"] for rule in rules() if "record" in rule}


def exposed() -> dict[str, Described]:
    """Return each series by the name that queries use, with what is said of its metric."""
    found = {}
    for each in Metrics().described:
        parts = ("_bucket", "_sum", "_count") if each.kind == "histogram" else ("",)
        found |= {each.name + part: each for part in parts}
    return found
