"""The side server of a daemon at work: real values, and nothing that isn't known."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import Project

from devstack.models.cache import cache_folder

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]


async def test_health_and_status_follow_the_work(
    project: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """Jobs, models, leases, memory and the queue are told as they are, while they change."""
    async with daemon(project) as worker:

        async def asked() -> tuple[dict[str, Any], dict[str, Any]]:
            return (await worker.get("/health"))[1], (await worker.get("/status"))[1]

        async def healthy() -> bool:
            return (await worker.get("/health"))[1]["status"] == "healthy"

        await eventually(healthy)
        health, status = await asked()
        assert (health["active_jobs"], health["model_loaded"]) == (0, False)
        assert set(status["models"].values()) == {"unloaded", "pure_inference_engine"}
        assert status["performance"]["jobs_completed"] == 0
        assert status["performance"]["average_generation_time"] is None

        hold = tmp_path / "hold"
        fake = {"steps": 16, "step_s": 0.1, "hold": str(hold)}
        jobs = [await project.insert("video_fast", **fake) for _ in range(2)]
        await project.until_running(jobs[0])
        health, status = await asked()
        assert (health["active_jobs"], health["model_loaded"]) == (1, True)
        assert (status["models"]["video"], status["models"]["sdxl"]) == ("loaded", "unloaded")
        assert status["leases"]["held"] == 1
        [device] = status["devices"]
        assert device["simulated"]
        assert 0 < device["weights"] + device["reserved"] <= 16
        assert health["gpu_utilization"] is None  # no GPU here: nothing is made up

        hold.touch()
        rows = [await project.until(job, "completed") for job in jobs]
        await eventually(lambda: completed(worker, 2))
        health, status = await asked()
        assert health["active_jobs"] == 0
        assert status["worker_id"] == "worker"
        assert status["performance"]["success_rate"] == 100
        took_s = [json.loads(row["result"])["timings"]["run"] for row in rows]
        assert min(took_s) >= 1.6
        average_s = status["performance"]["average_generation_time"]
        assert average_s == pytest.approx(sum(took_s) / 2, abs=0.5)
        assert status["store"]["errors"] == 0
        assert any(source["ready"] for source in status["wakeups"].values())


async def completed(worker: Daemon, jobs: int) -> bool:
    """Say whether the worker tells of so many completed jobs."""
    return bool((await worker.get("/status"))[1]["performance"]["jobs_completed"] == jobs)


async def test_metrics_count_what_happened(direct: Project, daemon: StartDaemon) -> None:
    """Prometheus sees outcomes by job type, claims, leases and the state of models."""
    async with daemon(direct) as worker:
        good = [await direct.insert("chat") for _ in range(3)]
        bad = await direct.insert("sdxl_image_fast", fail="out of ideas")
        for job in good:
            await direct.until(job, "completed")
        assert (await direct.until(bad, "failed"))["error"] == "out of ideas"
        await eventually(lambda: completed(worker, 3))
        shown = await worker.metrics()

        def total(*parts: str) -> float:
            return sum(shown[name] for name in shown if all(part in name for part in parts))

        assert total("finished_total", 'job_type="chat"', '"completed"') == 3
        assert total("finished_total", 'job_type="sdxl_image_fast"', '"failed"') == 1
        assert total("claimed_total") == 4


async def test_renewals_are_timed_like_other_calls(direct: Project, daemon: StartDaemon) -> None:
    """They run in a thread of their own, with a store of their own."""
    renewed = 'ourvidz_store_call_seconds_count{call="renew"}'

    async def seen() -> bool:
        return (await worker.metrics()).get(renewed, 0) > 1

    async with daemon(direct, OURVIDZ_LEASES__RENEW_EVERY_S="0.1") as worker:
        job = await direct.insert("chat", steps=1000, step_s=0.1)
        await direct.until_running(job)
        await eventually(seen)
        await direct.database.owner.fetchval("select cancel_job($1)", job)
        await direct.until(job, "cancelled")


async def test_a_key_guards_all_but_health(direct: Project, daemon: StartDaemon) -> None:
    """With a key set, probes answer without it, and everything else only with it."""
    key = "a-long-key-of-an-operator"
    async with daemon(direct, WORKER_API_KEY=key) as worker:
        assert (await worker.get("/health"))[0] == httpx.codes.OK
        assert (await worker.get("/status"))[0] == httpx.codes.UNAUTHORIZED
        async with httpx.AsyncClient(headers={"X-API-Key": key}) as client:
            answer = await client.get(worker.url + "/status")
            assert answer.status_code == httpx.codes.OK
            assert key not in answer.text
        assert key not in worker.log


async def test_no_secret_is_told_anywhere(project: Project, daemon: StartDaemon) -> None:
    """Neither answers nor errors in rows nor the most talkative log hold a key or a password."""
    settings = " ".join(project.environment.values())
    known = [secret for secret in project.secrets if secret in settings]
    assert known
    # What it wasn't told it couldn't know for a secret.
    project.secrets[:] = known
    async with daemon(project) as worker:
        job = await project.insert("sdxl_image_fast", fail=f"see {' '.join(known)}")
        await project.until(job, "failed")
        told = ""
        for path in ("/health", "/ready", "/status", "/metrics", "/worker/info", "/nowhere"):
            told += json.dumps((await worker.get(path))[1])
        for secret in project.secrets:
            assert secret not in told
        await worker.stop()
        worker.assert_clean()


@pytest.mark.models
async def test_the_documented_command_starts_everything(tmp_path: Path) -> None:
    """`python -m daemon --worker-type chat --dev` brings a stack, a model and a worker up."""
    pytest.importorskip("torch", reason="the model libraries aren't installed")
    cache = tmp_path / "ourvidz-worker"
    cache.mkdir()
    if cache_folder().is_dir():
        (cache / "models").symlink_to(cache_folder())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "daemon", "--worker-type", "chat", "--port", "0", "--dev"),
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "XDG_CACHE_HOME": str(tmp_path),
            "OURVIDZ_DEV_STACK_PORT": "0",
        },
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        url = ""
        async with asyncio.timeout(240):
            while not url and (line := (await process.stdout.readline()).decode()):
                url = line.split()[-1] if line.split()[:1] == ["worker"] else ""
        async with httpx.AsyncClient(timeout=60) as client:
            health = (await client.get(url + "/health")).json()
        assert (health["worker_type"], health["active_jobs"]) == ("chat", 0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
