"""Jobs as a table, and one job as a sheet."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from daemon.commands.outcomes import answer_of, artifacts_of, job_json, state_of
from daemon.commands.output import printable

if TYPE_CHECKING:
    from rich.table import Table

    from daemon.store.operators import ListedJob

_UNITS = (("d", 86400), ("h", 3600), ("m", 60))
_SHORTEST_STATE = 20


def table_of(jobs: "Sequence[ListedJob]", now: datetime) -> "Table":
    """Return jobs as a table; ages are counted from the insert."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("id", no_wrap=True)
    for name in ("type", "age", "took"):
        table.add_column(name, no_wrap=True)
    table.add_column("state", min_width=_SHORTEST_STATE, overflow="fold")
    for job in jobs:
        row = job.row
        took = None
        if row.started_at is not None:
            took = ((row.completed_at or now) - row.started_at).total_seconds()
        age = None if row.created_at is None else (now - row.created_at).total_seconds()
        table.add_row(
            str(row.id), row.job_type, _span(age), _span(took), Text(printable(state_of(row)))
        )
    return table


def sheet_of(job: "ListedJob") -> str:
    """Return one job as lines; of a result that is long only what a person wants."""
    facts: dict[str, Any] = job_json(job)
    result = facts.pop("result")
    lines = [
        f"{name.replace('_', ' '):<21}{value}" for name, value in facts.items() if value is not None
    ]
    answer = answer_of(result)
    if answer is not None:
        lines += ["", answer]
    elif result is not None and not artifacts_of(result):
        lines += ["", json.dumps(result, indent=2, ensure_ascii=False)]
    lines += [str(file.get("url") or file["path"]) for file in artifacts_of(result)]
    return "\n".join(lines)


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, length in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
