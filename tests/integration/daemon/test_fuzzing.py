"""Thousands of requests, made from the OpenAPI document by schemathesis, on a whole daemon.

Each answer's status, content type, headers and body are held to the document; what the document
forbids must be refused; no answer may be a failure of the worker itself.

    FUZZ_EXAMPLES=1000 python -m pytest tests/integration/daemon/test_fuzzing.py -s

runs for longer.
"""

import asyncio
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import daemon_process
import httpx
import pytest
from daemon_process import Daemon
from projects import Project

from daemon.server.endpoints import ENDPOINTS

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

KEY = "the-key-of-the-fuzzer"
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "16")
"""Of each endpoint, beside those of every bound."""
WITHIN_S = 60 + 30 * int(EXAMPLES)
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


async def fuzz(url: str, job_id: UUID, report: Path) -> tuple[int, str]:
    """Return schemathesis' exit status and what it says."""
    configuration = report.with_suffix(".toml")
    hooks = Path(daemon_process.__file__).with_name("fuzzing_hooks.py")
    text = CONFIGURATION.read_text().replace("JOB_ID", str(job_id))
    configuration.write_text(text.replace(hooks.name, str(hooks)))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli",
        "--config-file", str(configuration),
        "run", f"{url}/openapi.json",
        "--header", f"X-API-Key: {KEY}",
        "--max-examples", EXAMPLES,
        "--continue-on-failure",
        "--report", "ndjson", "--report-ndjson-path", str(report),
        "--no-color",
        cwd=report.parent,
        # The code that is tested, not another checkout that is installed.
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(WITHIN_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said.decode(errors="replace")


def answers(report: Path) -> dict[str, Counter[int]]:
    """Return how often each endpoint answered with each status."""
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for line in report.read_text().splitlines():
        finished: dict[str, Any] = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        for interaction in finished.get("interactions", {}).values():
            if interaction["response"]:
                found[finished["label"]][interaction["response"]["status_code"]] += 1
    return found


@pytest.mark.timeout(WITHIN_S + 60)
async def test_every_answer_is_as_documented(
    daemon: StartDaemon, direct: Project, tmp_path: Path
) -> None:
    """Whatever is sent: documented answers only, and each endpoint also had right requests."""
    report = tmp_path / "report.ndjson"
    environment = {"WORKER_API_KEY": KEY, "OURVIDZ_SERVER__HOST": "127.0.0.1"}
    async with daemon(direct, **environment) as running:
        job_id = await direct.insert()
        await direct.until(job_id, "completed")
        status, said = await fuzz(running.url, job_id, report)
        assert report.exists(), said
        found = answers(report)
        for name, seen in found.items():
            print(name, dict(sorted(seen.items())))  # noqa: T201 -- shown with -s
        async with httpx.AsyncClient(base_url=running.url) as client:
            health = (await client.get("/health")).json()

    assert status == 0, said[-8000:]
    assert health["status"] == "healthy", health
    assert health["active_jobs"] == 0
    documented = {f"{each.method} {each.path}" for each in ENDPOINTS}
    assert found.keys() == documented - {"GET /openapi.json"}  # it is where they come from
    assert sum(seen.total() for seen in found.values()) > 1000
    for name in found.keys() - {"POST /chat/unrestricted"}:
        assert found[name][HTTPStatus.OK] > 0, name
    for name in ("POST /generate_image", "POST /generate_video"):
        assert found[name][HTTPStatus.ACCEPTED] > 0, name
