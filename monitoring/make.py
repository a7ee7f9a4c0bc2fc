"""Writes what is made from code: the dashboards, and the reference of metrics.

python -m monitoring.make
"""

import json
from collections.abc import Mapping
from pathlib import Path

from monitoring.depth import depth
from monitoring.glance import glance
from monitoring.reference import reference

ROOT = Path(__file__).parents[1]


def made() -> Mapping[Path, str]:
    """Return every file that is made, with its text."""
    boards = {"glance": glance(), "depth": depth()}
    return {ROOT / "docs/metrics.md": reference()} | {
        ROOT / f"monitoring/dashboards/{name}.json": json.dumps(board, indent=2) + "\n"
        for name, board in boards.items()
    }


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
