"""What both dashboards have: variables, links to each other, rows, and their JSON."""

import json
from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from monitoring.panels import SOURCE, Builder

SCHEMA_VERSION = 39
"""Grafana 11.0's; later ones bring a dashboard up to theirs when they load it."""

TAG = "ourvidz-worker"

Row = tuple[str, Sequence[Builder]]
"""A heading, and panels whose widths fill lines of 24."""


def board(uid: str, title: str, says: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Return a dashboard as JSON."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(says)
        .tags([TAG])
        .editable()
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(_siblings())
        .variables(_variables())
    )
    number = 0
    for heading, panels in rows:
        number += 1
        made = made.with_row(dashboard.Row(heading).id(number))
        for panel in panels:
            number += 1
            made = made.with_panel(panel.id(number))
    built = made.build()
    built.schema_version = SCHEMA_VERSION
    found: dict[str, Any] = json.loads(json.dumps(built, cls=JSONEncoder))
    return found


def _siblings() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("ourvidz-worker")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    )


def _variables() -> list[Any]:
    return [
        dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"),
        _choice("job", "Scrape job", "label_values(ourvidz_worker_info, job)"),
        _choice(
            "worker_type",
            "Worker type",
            'label_values(ourvidz_worker_info{job=~"$job"}, worker_type)',
        ),
        _choice(
            "instance",
            "Worker",
            'label_values(ourvidz_worker_info{job=~"$job",worker_type=~"$worker_type"}, instance)',
        ),
    ]


def _choice(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """Return a variable of which several values, or all, can be picked."""
    everything = models.VariableOption(selected=True, text=["All"], value=["$__all"])
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(SOURCE)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .current(everything)
    )
