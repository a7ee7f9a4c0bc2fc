"""What is made from code is fresh."""

from pathlib import Path

import pytest

from monitoring.make import ROOT, made

MADE = made()


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_file_is_what_the_code_makes(path: Path) -> None:
    """`make monitoring` writes it anew."""
    assert path.read_text() == MADE[path], f"{path.relative_to(ROOT)} is stale: make monitoring"


def test_every_dashboard_is_made() -> None:
    """None is kept by hand."""
    kept = set((ROOT / "monitoring/dashboards").glob("*.json"))

    assert kept == {path for path in MADE if path.suffix == ".json"}
