"""A project whose health is looked at, with one thing broken."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from projects import Project

from daemon.doctor.examination import Instruments, examination
from daemon.doctor.findings import Finding
from daemon.settings import merged


class Patient:
    """A project's settings, one of which is broken for a test."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project = project
        environment = project.environment
        fake = {"runner": "fake", "path": ""}
        self.settings: dict[str, Any] = {
            "database": {"dsn": environment.get("DATABASE_URL")},
            "supabase": {
                "url": environment.get("SUPABASE_URL"),
                "key": environment.get("SUPABASE_KEY"),
                "token": environment.get("SUPABASE_WORKER_TOKEN"),
            },
            "models": {name: dict(fake) for name in ("chat", "sdxl", "wan", "video")},
            "device": {"simulate_gb": 48},
            "server": {"port": 0},
            "state_dir": str(folder / "state"),
        }
        if project.files is not None:
            self.settings["artifacts"] = {"kind": "local", "folder": str(project.files)}

    async def examined(
        self, *, instruments: Instruments | None = None, **change: Any
    ) -> list[Finding]:
        """Change the settings, look, and see that no secret is told."""
        found = await examination(None, merged(self.settings, change), instruments)
        for secret in [*self.project.secrets, "hush"]:
            assert secret not in repr(found)
        return found


def bad(found: list[Finding]) -> dict[str, tuple[str, str]]:
    """Return what isn't well, by check."""
    wrong = ("failed", "warning")
    return {
        f.check: (str(f.verdict), f"{f.seen} -> {f.advice}") for f in found if f.verdict in wrong
    }


def verdicts(found: list[Finding]) -> Mapping[str, str]:
    return {finding.check: str(finding.verdict) for finding in found}
