"""How answers are written: for people, or as JSON, one object a line."""

import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_Command = TypeVar("_Command", bound=Callable[..., Any])

WIDE = 200
"""Columns of a table that goes into a pipe or a file: nothing is cut off there."""


def json_option(command: _Command) -> _Command:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON on stdout.")(
        command
    )


def tell(text: str, value: Any, *, as_json: bool) -> None:
    """Write an answer to stdout."""
    click.echo(json_text(value) if as_json else printable(text))


def json_text(value: Any) -> str:
    """Return one line of JSON."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def printable(text: str) -> str:
    """Return text without what steers a terminal: strangers wrote it."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def note(text: str) -> None:
    """Write to stderr what isn't the answer."""
    click.echo(printable(text), err=True)


def console(*, err: bool = False) -> "Console":
    """Return where tables and bars are drawn; colours only on a terminal, and not with NO_COLOR."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else WIDE
    return Console(file=stream, width=width, highlight=False, soft_wrap=not stream.isatty())


def show_table(table: "Table") -> None:
    """Write a table to stdout, without blanks at the ends of its lines."""
    out = console()
    with out.capture() as drawn:
        out.print(table)
    click.echo("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def _plain(value: Any) -> Any:
    match value:
        case UUID() | Path():
            return str(value)
        case datetime():
            return value.isoformat()
        case _:
            raise TypeError(f"{type(value).__name__} is no JSON")
