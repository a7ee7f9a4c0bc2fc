"""`docs/http-api.md` names every endpoint and every error code that there is."""

import re
from pathlib import Path

from daemon.jobs import ErrorCode
from daemon.server import errors
from daemon.server.asking import MODEL_NOT_SERVED
from daemon.server.endpoints import ENDPOINTS
from daemon.server.text import MIGRATION

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "http-api.md").read_text()


def table(heading: str) -> list[list[str]]:
    """Return the cells of the table in a section."""
    _, _, section = PAGE.partition(f"\n## {heading}\n")
    rows = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_every_error_code_is_in_the_table() -> None:
    """Those of jobs, and those of requests that come to nothing before."""
    listed = {code for row in table("Errors") for code in re.findall(r"`(\w+)`", row[0])}

    assert {code.value for code in ErrorCode} <= listed
    assert {*errors._CODES.values(), "BAD_REQUEST", "INTERNAL_ERROR"} <= listed
    assert {MODEL_NOT_SERVED, "CANCELLED", "GONE"} <= listed


def test_every_endpoint_is_named() -> None:
    """By its path, parameters apart."""
    for endpoint in ENDPOINTS:
        assert endpoint.path.partition("{")[0].rstrip("/") in PAGE, endpoint.path


def test_what_the_gone_endpoint_points_to_is_there() -> None:
    """A heading of that name in that file."""
    path, _, anchor = MIGRATION.partition("#")

    headings = re.findall(r"^#+ (.*)$", (ROOT / path).read_text(), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}
