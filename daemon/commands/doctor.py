"""`doctor`: the report of an examination."""

import sys
from typing import TYPE_CHECKING

import click

from daemon.commands.output import json_option, printable, show_table, tell
from daemon.commands.running import Given, UserError, quiet, run

if TYPE_CHECKING:
    from daemon.doctor.findings import Finding

_STYLES = {"ok": "green", "skipped": "dim", "warning": "yellow", "failed": "bold red"}


@click.command("doctor")
@json_option
@click.pass_obj
def doctor_command(given: Given, as_json: bool) -> None:
    """Look at all that a worker needs, by really using it.

    Settings, database, schema and rights, key and token, wake-ups (a canary through each source),
    storage (a file written, read and removed), GPU, models, disk, clock, port. What fails says
    what to do about it. Nothing is left behind. Exit status 1 when something failed.
    """
    from daemon.doctor.examination import examination

    quiet()
    found: list[Finding] = run(lambda: examination(*given))
    bad = any(finding.verdict == "failed" for finding in found)
    if as_json:
        checks = [
            {"check": f.check, "verdict": f.verdict, "seen": f.seen, "advice": f.advice}
            for f in found
        ]
        tell("", {"ok": not bad, "checks": checks}, as_json=True)
    else:
        _print(found)
    if bad:
        sys.exit(UserError.exit_code)


def _print(found: "list[Finding]") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in found:
        verdict = Text(finding.verdict, _STYLES[finding.verdict])
        table.add_row(verdict, finding.check, Text(printable(finding.seen)))
        if finding.advice:
            table.add_row("", "", Text(f"→ {printable(finding.advice)}"))
    show_table(table)
