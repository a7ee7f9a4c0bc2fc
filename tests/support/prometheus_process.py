"""A real Prometheus with the shipped configuration and rules, hurried to one scrape a second."""

import asyncio
import contextlib
import math
import os
import shutil
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from eventually import eventually
from monitoring_files import MONITORING

from devstack.postgres import free_port

EVERY = "1s"
RATE_OVER = "5s"
"""What Grafana would take for `$__rate_interval`."""


def prometheus_program() -> str:
    """Return the program; without it the test is skipped, in CI it fails."""
    missing = pytest.fail if os.environ.get("CI") else pytest.skip
    return shutil.which("prometheus") or str(missing("prometheus is missing: install it"))


@dataclass
class Prometheus:
    """One that runs, and what it says over its API."""

    url: str
    began: float = field(default_factory=time.time)

    async def ask(self, path: str, **parameters: Any) -> Any:
        """Return the data of an answer; an error is raised with Prometheus' words."""
        async with httpx.AsyncClient(timeout=20) as client:
            answer = (await client.get(f"{self.url}/api/v1/{path}", params=parameters)).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    async def value(self, expr: str) -> float:
        """Return the one value of an expression now; NaN: there is none yet."""
        found = (await self.ask("query", query=expr))["result"]
        return float(found[0]["value"][1]) if found else math.nan

    async def known(self, expr: str, instance: str) -> bool:
        """Say whether an expression of a dashboard or a rule ever had a value, of one worker."""
        expr = expr.replace("$job", "ourvidz-worker").replace("$instance", instance)
        expr = expr.replace("$__rate_interval", RATE_OVER)
        span = {"start": self.began, "end": time.time() + 1, "step": "1"}
        series = (await self.ask("query_range", query=expr, **span))["result"]
        return any(not math.isnan(float(value)) for each in series for _, value in each["values"])


def configuration(folder: Path, targets: Sequence[str], key: str) -> Path:
    """Write the shipped configuration with other places, times and workers; return its path."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": EVERY, "evaluation_interval": EVERY}
    config["rule_files"] = [str(MONITORING / pattern) for pattern in config["rule_files"]]
    (folder / "key").write_text(key)
    (folder / "workers.yml").write_text(yaml.safe_dump([{"targets": list(targets)}]))
    [scrape] = config["scrape_configs"]
    scrape["authorization"]["credentials_file"] = str(folder / "key")
    scrape["file_sd_configs"] = [{"files": [str(folder / "workers.yml")]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@asynccontextmanager
async def prometheus(folder: Path, targets: Sequence[str], key: str) -> AsyncIterator[Prometheus]:
    """Run one for the block, that scrapes these workers."""
    program, port = prometheus_program(), free_port()
    arguments: Mapping[str, object] = {
        "config.file": configuration(folder, targets, key),
        "storage.tsdb.path": folder / "data",
        "web.listen-address": f"127.0.0.1:{port}",
        "log.level": "warn",
    }
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            *(f"--{name}={value}" for name, value in arguments.items()),
            stdout=log,
            stderr=log,
        )
    try:
        running = Prometheus(f"http://127.0.0.1:{port}")
        await eventually(lambda: _ready(running, process, folder / "log"), 60)
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _ready(running: Prometheus, process: asyncio.subprocess.Process, log: Path) -> bool:
    assert process.returncode is None, f"see {log}"
    with contextlib.suppress(httpx.TransportError):
        async with httpx.AsyncClient(timeout=5) as client:
            return (await client.get(f"{running.url}/-/ready")).is_success
    return False
