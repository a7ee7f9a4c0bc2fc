"""What is wrong with settings, one line each: `path: sentence [VARIABLE]`.

A key that nobody knows is refused, with the nearest one that there is: a misspelt setting would
otherwise be none, silently.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from daemon.sections import ProblemsError
from daemon.setting_reference import paths
from daemon.settings import Settings, variables_of

_PREFIX = "OURVIDZ_"

NO_SETTINGS = frozenset(
    {"OURVIDZ_CONFIG", "OURVIDZ_DEV_STACK_PORT", "OURVIDZ_MIGRATE_DSN", "OURVIDZ_OPERATOR_DSN"}
)
"""Variables of the command line that are read elsewhere."""

_NEAR = 0.6


def lines_of(error: ValidationError) -> list[str]:
    """Return a line for each thing that pydantic found."""
    return [line for problem in error.errors(include_url=False) for line in _lines(problem)]


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Return a line for each `OURVIDZ_` variable that names no section and no setting.

    Those that go wrong inside a section are found by pydantic, which reads them.
    """
    found = []
    for name in sorted(names):
        if not name.upper().startswith(_PREFIX) or name.upper() in NO_SETTINGS:
            continue
        path = name[len(_PREFIX) :].lower().split("__")
        if path[0] not in Settings.model_fields:
            near = _nearest(".".join(path).replace("_", "."), by=lambda p: p.replace("_", "."))
            hint = f"; did you mean {variables_of(near)[0]}?" if near else ""
            found.append(f"{name}: there is no such setting{hint}")
    return found


def _lines(problem: Any) -> list[str]:
    location = [str(part) for part in problem["loc"] if part != "[key]"]
    path = ".".join(location) or "settings"
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, ProblemsError):
        return [_line(f"{path}.{each}") for each in cause.problems]
    if problem["type"] == "extra_forbidden":
        near = _nearest(path)
        hint = f"; did you mean {near}?" if near else ""
        return [_line(f"{path}: there is no such setting{hint}")]
    return [_line(f"{path}: {problem['msg']}")]


def _line(text: str) -> str:
    """Name the variable too, by which the setting may have come."""
    path = text.partition(":")[0]
    if path == "settings" or not all(part.isidentifier() for part in path.split(".")):
        return text
    return f"{text} [{', '.join(variables_of(path))}]"


def _nearest(path: str, by: Any = str) -> str | None:
    """Return the known path that is most like this one, or that ends as it does."""
    known = {by(each): each for each in paths()}
    if close := get_close_matches(by(path), known, n=1, cutoff=_NEAR):
        return known[close[0]]
    last = path.rpartition(".")[2]
    return next((each for each in known.values() if each.rpartition(".")[2] == last), None)
