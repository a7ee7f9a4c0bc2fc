"""`docs/metrics.md`: every metric, label and recorded figure, from the code that makes them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from daemon.telemetry.metrics import Metrics
from daemon.telemetry.series.labels import Label
from daemon.telemetry.series.register import Described

RULES = Path(__file__).parent / "rules"

_HEAD = """\
# Metrics

Made by `python -m monitoring.make` from the code: don't edit.

`GET /metrics` on the worker's port, in Prometheus' text format; with a key configured it is asked
for (`X-API-Key`, or `Authorization: Bearer`). How to scrape, alert and draw:
`monitoring/README.md`; what to do when something is wrong: [runbook.md](runbook.md).

Units are in the names: seconds, bytes, ratios from 0 to 1; counters end in `_total`. Figures that
aren't known are NaN or absent, never 0. Every label has few values, listed below: what a stranger
writes into a row becomes `other`, and no job, user, claim or prompt is ever a label. A histogram
`x` has the series `x_bucket` (with a label `le`), `x_sum` and `x_count`.

The six figures that the API document's `collect_metrics` names are gauges of these names, each
worker's own, in the document's units; over a fleet and an hour they are recorded, see the end.
Rows of the table are counted by every worker alike: take the `max` of `ourvidz_queue_…`, not the
sum.
"""

_RECORDED = """
## Recorded figures

By `monitoring/rules/recording.yml`, over all workers of a scrape job.

| name | is |
|---|---|
"""


def reference() -> str:
    """Return the page."""
    described = Metrics().described
    subjects = dict.fromkeys(each.subject for each in described)
    parts = [_HEAD]
    parts += [_section(subject, described) for subject in subjects]
    parts += [_labels(described), _RECORDED + _rows(_recorded())]
    return "".join(parts)


def _section(subject: str, described: Sequence[Described]) -> str:
    head = f"\n## {subject}\n\n| metric | kind | labels | |\n|---|---|---|---|\n"
    return head + _rows(
        (f"`{each.name}`", each.kind, _names(each.labels), each.says)
        for each in described
        if each.subject == subject
    )


def _labels(described: Sequence[Described]) -> str:
    """Return every label once, and once more where another metric has other values of it."""
    used = dict.fromkeys(label for each in described for label in each.labels)
    head = "\n## Labels\n\n| label | is | values | of |\n|---|---|---|---|\n"
    return head + _rows(
        (
            f"`{label.name}`",
            label.says,
            " ".join(f"`{value}`" for value in label.values),
            _used_by(label, described),
        )
        for label in sorted(used, key=lambda label: label.name)
    )


def _used_by(label: Label, described: Sequence[Described]) -> str:
    users = [each.name for each in described if label in each.labels]
    shown = [f"`{name}`" for name in users[:2]]
    return ", ".join(shown) + (f" and {len(users) - 2} more" if len(users) > len(shown) else "")


def _recorded() -> Iterable[tuple[str, ...]]:
    groups: Any = yaml.safe_load((RULES / "recording.yml").read_text())["groups"]
    for group in groups:
        for rule in group["rules"]:
            # A bar would end the table's cell.
            expr = " ".join(rule["expr"].split()).replace("|", "\\|")
            yield f"`{rule['record']}`", f"`{expr}`"


def _names(labels: Iterable[Label]) -> str:
    return ", ".join(f"`{label.name}`" for label in labels)


def _rows(rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
