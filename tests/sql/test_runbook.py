"""The runbook's SQL runs as it stands."""

import re
from pathlib import Path

import pytest
from jobs_database import JobsDatabase

pytestmark = pytest.mark.asyncio(loop_scope="session")

RUNBOOK = (Path(__file__).parents[2] / "docs/runbook.md").read_text()

STATEMENTS = [
    pytest.param(statement.strip(), id=f"{heading}-{number}")
    for heading, section in re.findall(r"(?ms)^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK)
    for number, statement in enumerate(
        statement
        for block in re.findall(r"(?s)```sql\n(.*?)```", section)
        for statement in block.split(";\n")
        if statement.strip()
    )
]

ABOUT_ROWS = r"\bfrom (jobs|job_runs)\b"


@pytest.mark.parametrize("statement", STATEMENTS)
async def test_statement_runs(database: JobsDatabase, statement: str) -> None:
    """On a migrated project with a row in every state; one that looks for rows changes none."""
    await database.insert("chat")
    await database.owner.execute("analyze jobs")

    rows = await database.owner.fetch(statement)

    assert statement.startswith("select")
    if not re.search(ABOUT_ROWS, statement):
        assert rows


async def test_a_failure_is_found(database: JobsDatabase) -> None:
    """What the runbook asks of failed jobs shows the one that failed."""
    job = await database.insert("chat")
    await database.owner.execute(
        "update jobs set status = 'failed', error = 'out of ideas', completed_at = now(),"
        " error_code = 'GENERATION_FAILED' where id = $1",
        job,
    )
    [statement] = [
        param.values[0]
        for param in STATEMENTS
        if "from jobs where status = 'failed'" in param.values[0]
    ]

    [row] = await database.owner.fetch(statement)

    assert (row["job_type"], row["error"], row["count"]) == ("chat", "out of ideas", 1)
