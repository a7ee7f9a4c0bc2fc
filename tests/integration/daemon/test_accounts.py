"""Where the time of every job went, however it ended, and so far: in its row and in the status."""

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

TOLERANCE_S = 1.5
"""As in `test_timings`: each phase that counts takes longer than this."""

PARTS = {"wake_up", "queue", "vram", "switch", "load", "run", "upload"}


async def account_of(project: Project, job: UUID, until: datetime | None) -> dict[str, float]:
    """Return a row's account, which adds up to its time since it was due."""
    row = await project.database.row(job)
    account: dict[str, float] = json.loads(row["timings"])
    assert set(account) == PARTS
    whole_s = ((until or row["completed_at"]) - row["run_after"]).total_seconds()
    assert abs(sum(account.values()) - whole_s) < TOLERANCE_S, (account, whole_s)
    return account


async def reported(worker: Daemon, job: UUID) -> dict[str, Any]:
    """Return a held job as the status shows it."""
    jobs = (await worker.get("/status"))[1]["jobs"]
    [found] = [each for each in jobs if each["job_id"] == str(job)]
    return dict(found)


async def test_the_account_of_a_job_that_goes_on(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """The status has it of this moment, the row of its last update, also over HTTP."""
    loaded, hold = tmp_path / "loaded", tmp_path / "hold"
    async with daemon(direct, OURVIDZ_MODELS__VIDEO__OPTIONS__LOAD_WAITS=str(loaded)) as worker:
        job = await direct.insert("video_fast", steps=40, step_s=0.1, hold=str(hold))

        async def waits(seconds: float) -> bool:
            held = (await worker.get("/status"))[1]["jobs"]
            return bool(held) and held[0]["timings"]["load"] > seconds

        await eventually(lambda: waits(2))
        report = await reported(worker, job)
        assert sum(report["timings"].values()) == pytest.approx(report["held_s"], abs=TOLERANCE_S)
        assert report["timings"]["load"] == pytest.approx(report["waited_s"]["load"], abs=0.2)
        loaded.touch()
        row = await direct.until_running(job)

        account = await account_of(direct, job, row["updated_at"])
        assert account["load"] > 2
        shown = (await worker.get(f"/jobs/{job}"))[1]
        assert (shown["status"], set(shown["timings"])) == ("processing", PARTS)
        hold.touch()
        done = await direct.until(job, "completed")
        account = await account_of(direct, job, None)
        assert account == json.loads(done["result"])["timings"]


async def test_a_failed_job_keeps_its_account(direct: Project, daemon: StartDaemon) -> None:
    """It has no result that could hold it."""
    async with daemon(direct):
        job = await direct.insert("video_fast", steps=20, step_s=0.1, fail="out of ideas")
        row = await direct.until(job, "failed")

        assert row["result"] is None
        assert (await account_of(direct, job, None))["run"] >= 2


async def test_a_job_that_is_tried_again_begins_its_account_anew(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """From when it is due; each try keeps its own."""
    async with daemon(direct):
        fake = {"steps": 20, "step_s": 0.1, "error_code": "NETWORK_ERROR"}
        job = await direct.insert("video_fast", fail="the network is away", **fake)
        row = await direct.until(job, "failed")

        assert row["attempts"] == 3
        account = await account_of(direct, job, None)
        assert account["run"] == pytest.approx(2, abs=TOLERANCE_S)
        runs = [json.loads(run["timings"]) for run in await direct.database.runs(job)]
        assert all(run["run"] >= 2 for run in runs)
        assert {name: round(runs[-1][name], 3) for name in PARTS} == account


async def test_who_is_stopped_while_it_waits_says_for_what(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """Drained or cancelled: the run knows that it was the load. A released row begins anew."""
    never = {"OURVIDZ_MODELS__VIDEO__OPTIONS__LOAD_WAITS": str(tmp_path / "never")}
    async with daemon(direct, **never) as worker:
        user = await direct.user()
        cancelled = await user.insert("video_high", {"prompt": "a lake"})
        released = await direct.insert("video_fast")

        async def both_wait() -> bool:
            held = (await worker.get("/status"))[1]["jobs"]
            return len(held) == 2 and all(each["timings"]["load"] > 2 for each in held)

        await eventually(both_wait)
        await user.cancel(cancelled)

        async def ended() -> dict[str, float] | None:
            [run] = await direct.database.runs(cancelled)
            return None if run["timings"] is None else dict(json.loads(run["timings"]))

        account = await eventually(ended)
        assert account is not None
        assert account["load"] > 2
        assert account["queue"] < TOLERANCE_S
        await worker.stop()
        [run] = await direct.database.runs(released)
        assert run["outcome"] == "released"
        assert json.loads(run["timings"])["load"] > 2
        row = await direct.database.row(released)
        assert (row["status"], row["timings"]) == ("queued", None)


async def test_a_request_over_http_has_its_account(serving: Daemon) -> None:
    """It adds up to what the caller waited for, a load included."""
    async with httpx.AsyncClient(base_url=serving.url, timeout=60) as client:
        began = asyncio.get_running_loop().time()
        picture = {"prompt": "a lake", "model": "sdxl", "quality": "fast"}
        answer = await client.post(
            "/generate_image", json=picture | {"fake": {"steps": 20, "step_s": 0.1}}
        )
        whole_s = asyncio.get_running_loop().time() - began

    timings = answer.json()["timings"]
    assert set(timings) == PARTS
    assert sum(timings.values()) == pytest.approx(whole_s, abs=TOLERANCE_S)


async def test_a_run_that_got_the_device_for_itself_counts_both_tries(
    direct: Project, daemon: StartDaemon
) -> None:
    """The first one ran out of memory; another model had to leave in between."""
    async with daemon(direct):
        await direct.until(await direct.insert("chat"), "completed")
        job = await direct.insert("sdxl_image_fast", steps=20, step_s=0.1, oom_times=1)
        await direct.until(job, "completed")

        account = await account_of(direct, job, None)
        assert account["run"] >= 2
        assert account["load"] > 0
