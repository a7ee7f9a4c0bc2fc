"""What a check has found, and how checks are run: all at once, each with its own time limit."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from daemon.telemetry.redaction import redact

_LONGEST = 400


class Verdict(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    SKIPPED = "skipped"
    """It couldn't be looked at since something else failed, or isn't used."""
    WARNING = "warning"
    """A worker runs, and something is not as it should be."""
    FAILED = "failed"
    """A worker doesn't start with this, or jobs fail."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        check: what was looked at.
        verdict: how serious it is.
        seen: what was seen.
        advice: what to do about it; empty where there is nothing to do.
    """

    check: str
    verdict: Verdict
    seen: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A check's name, what does it, and the seconds that it may take."""

    name: str
    look: Callable[[], Awaitable[list[Finding]]]
    timeout_s: float = 20.0


def ok(check: str, seen: str) -> Finding:
    """Return a good finding."""
    return Finding(check, Verdict.OK, seen)


def failed(check: str, seen: str, advice: str) -> Finding:
    """Return a bad finding."""
    return Finding(check, Verdict.FAILED, seen, advice)


def warning(check: str, seen: str, advice: str) -> Finding:
    """Return a finding that doesn't keep a worker from running."""
    return Finding(check, Verdict.WARNING, seen, advice)


def skipped(check: str, why: str) -> Finding:
    """Return a finding of what wasn't looked at."""
    return Finding(check, Verdict.SKIPPED, why)


async def examine(checks: Iterable[Check]) -> list[Finding]:
    """Run all checks at once; return their findings in the checks' order."""
    found = await asyncio.gather(*map(_findings, checks))
    return [finding for each in found for finding in each]


async def _findings(check: Check) -> list[Finding]:
    try:
        async with asyncio.timeout(check.timeout_s):
            return await check.look()
    except TimeoutError:
        return [
            failed(
                check.name,
                f"no end after {check.timeout_s:g} s",
                "look at the network and the load of this host, and try again",
            )
        ]
    except Exception as error:  # noqa: BLE001 -- one check's defect must not hide the others
        return [
            failed(
                check.name,
                f"the check broke: {type(error).__name__}: {error}",
                "this may be a defect of the worker: please report it",
            )
        ]


def clean(finding: Finding) -> Finding:
    """Return a finding free of secrets, each of its texts one line."""
    return Finding(finding.check, finding.verdict, _line(finding.seen), _line(finding.advice))


def _line(text: str) -> str:
    """Return one line without secrets."""
    text = " ".join(redact(text).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
