"""The log of a whole worker: which job each line is about, and nothing of what users wrote."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

MARK = "zanzibarquokka"
SECRET = f'a {MARK} rides through\nthe "{MARK}" night, {MARK} and Möwen, and then a {MARK}\'s end'
REFUSES_RESULTS = f"""
    create function refuse() returns trigger language plpgsql as $$ begin
        if new.status in ('completed', 'queued') and new.metadata::text like '%be refused%' then
            raise exception 'no: %', new.metadata;
        end if;
        return new;
    end $$;
    create trigger refuse before update on jobs for each row execute function refuse();
    -- {MARK}
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def insert(project: Project, job_type: str, fake: Any = None, **metadata: Any) -> UUID:
    """Insert a job whose every text is marked."""
    wish = {"prompt": SECRET, "negative_prompt": SECRET, "width": 64, "height": 64}
    return await project.database.insert(
        job_type, metadata={**wish, "fake": fake or {}, **metadata}
    )


async def fail_in_every_way(project: Project) -> list[UUID]:
    """Insert jobs that fail, or go well, and quote their prompts wherever they can."""
    quoted = {"system_prompt": SECRET, "message": SECRET, "prompt": SECRET}
    conversation = [{"role": "system", "content": SECRET}, {"role": "user", "content": SECRET}]
    return [
        await insert(project, "chat", messages=conversation),
        await insert(project, "chat", **quoted, conversation_history=[{"content": SECRET}]),
        await insert(project, "chat", temperature=SECRET),
        await insert(project, "sdxl_image_fast", steps=SECRET),
        await insert(project, "sdxl_image_fast", fake={"fail": f"can't draw {SECRET!r}"}),
        await insert(project, "sdxl_image_fast", fake={"peak": SECRET}),
        await insert(project, "sdxl_image_fast", fake={"oom_times": 9, "peak": 9}),
        await insert(project, "wan_image_fast", fake={"crash": 3}),
        await insert(project, "video_fast", fake={"broken": True}),
        await insert(project, "image7b_fast_enhanced"),
        await insert(project, "image7b_fast_enhanced", fake={"fail": SECRET[:20]}),
        await insert(project, "enhance", fake={"note": "shall be refused"}),
    ]


async def test_no_line_holds_a_prompt_however_jobs_fail(
    direct: Project, daemon: StartDaemon
) -> None:
    """At the lowest level, with the errors of requests, engines, models and the database."""
    await direct.database.owner.execute(REFUSES_RESULTS)
    worker = daemon(direct)
    worker.expects_defects = True
    async with worker:
        jobs = await fail_in_every_way(direct)
        async with httpx.AsyncClient(base_url=worker.url, timeout=120) as client:
            for body in (
                {"message": SECRET, "system_prompt": SECRET, "temperature": SECRET},
                {"message": SECRET, "system_prompt": SECRET, "fake": {"fail": SECRET}},
                {"messages": [{"role": SECRET, "content": SECRET}]},
                [SECRET],
            ):
                await client.post("/chat", json=body)
            await client.post("/chat", content=SECRET)
        for job in jobs[:-1]:
            await direct.until(job, "completed", "failed")
        await eventually(lambda: "retry refused" in worker.log, what="the database refused all")
    log = worker.log

    assert "invalid literal for int" in log
    assert "no: {" in log
    assert "[prompt" in log
    assert [line for line in log.splitlines() if MARK in line] == []


@pytest.mark.parametrize("shown", ["length", "full"])
async def test_prompts_are_shown_where_they_may_be(
    direct: Project, daemon: StartDaemon, shown: str
) -> None:
    """The documented line about the system prompt: its length, or its first 100 characters."""
    async with daemon(direct, OURVIDZ_LOG__PROMPTS=shown) as worker:
        job = await insert(direct, "chat", system_prompt=SECRET * 3, message="hello")
        await direct.until(job, "completed")
    [line] = [line for line in worker.log.splitlines() if "using system prompt" in line]

    assert f"characters={len(SECRET) * 3}" in line
    assert (MARK in line) is (shown == "full")


async def test_every_line_of_a_job_says_which(direct: Project, daemon: StartDaemon) -> None:
    """In JSON: the worker's own lines, libraries', and those that the engine writes for a run."""
    async with daemon(direct, OURVIDZ_LOG__FORMAT="json") as worker:
        traced = await insert(
            direct,
            "sdxl_image_fast",
            fake={"peak": "no number"},
            traceparent=f"00-{TRACE}-00f067aa0ba902b7-01",
        )
        plain = await insert(direct, "chat")
        await direct.until(traced, "failed")
        await direct.until(plain, "completed")
    lines = [json.loads(line) for line in worker.log.splitlines()]
    of = {
        job: [line for line in lines if line.get("job_id") == str(job)] for job in (traced, plain)
    }
    ids = {
        (line["claim_id"], line["job_type"], line["model"], line["trace_id"]) for line in of[traced]
    }

    assert all(line["ts"].endswith("Z") for line in lines)
    [(claim_id, *others)] = ids
    assert str(UUID(claim_id)) == claim_id
    assert others == ["sdxl_image_fast", "sdxl", TRACE]
    assert {line["trace_id"] for line in of[plain]} == {plain.hex}
    assert [line["event"] for line in of[plain] if line["logger"] == "daemon.jobs"] == [
        "processing job", "job completed",
    ]  # fmt: skip
    [failed] = [line for line in of[traced] if line["event"] == "job failed"]
    assert (failed["level"], "invalid literal" in failed["error"]) == ("error", True)
    of_engine = [line["line"] for line in of[traced] if line["event"] == "engine"]
    assert any("Traceback" in line for line in of_engine)
    assert any("ValueError: invalid literal" in line for line in of_engine)
