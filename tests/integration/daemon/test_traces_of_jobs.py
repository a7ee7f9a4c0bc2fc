"""A whole worker's traces at a real OTLP receiver: rows and requests, their times, their errors."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from collector import Collector
from daemon_process import Daemon
from eventually import eventually
from projects import Project

from devstack.postgres import free_port

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
SENT = f"00-{TRACE}-{SPAN}-01"
MARK = "zanzibarquokka"


def to(url: str, **more: str) -> dict[str, str]:
    return {"OURVIDZ_TRACING__ENABLED": "true", "OURVIDZ_TRACING__ENDPOINT": url, **more}


@pytest_asyncio.fixture(loop_scope="session")
async def collector() -> AsyncIterator[Collector]:
    """Takes traces for the time of a test."""
    async with Collector().running() as running:
        yield running


async def insert(project: Project, job_type: str = "chat", **metadata: Any) -> Any:
    wish = {"prompt": MARK, "width": 64, "height": 64, **metadata}
    return await project.database.insert(job_type, metadata=wish)


async def test_a_row_s_job_is_one_trace_from_insert_to_finish(
    direct: Project, daemon: StartDaemon, collector: Collector
) -> None:
    """Continued from its metadata, with the real times of everything that it waited for."""
    began = time.time()
    key = {"OURVIDZ_TRACING__HEADERS__X-COLLECTOR-KEY": "secret-of-collector"}
    async with daemon(direct, **to(collector.url), **key) as worker:
        job = await insert(direct, fake={"steps": 5, "step_s": 0.1}, traceparent=SENT)
        row = await direct.until(job, "completed")
        await eventually(lambda: "job chat" in collector.of_trace(TRACE), what="the trace")
    ended = time.time()
    spans = collector.of_trace(TRACE)
    root, attempt, run = spans["job chat"], spans["attempt"], spans["run"]

    assert (root.parent_id, attempt.parent_id, run.parent_id) == (
        SPAN, root.span_id, attempt.span_id,
    )  # fmt: skip
    assert {"wake_up", "load", "run", "finish"} <= set(spans)
    assert began - 0.05 <= root.start_s <= attempt.start_s <= run.start_s
    assert run.end_s <= attempt.end_s <= root.end_s <= ended
    assert 0.5 <= run.end_s - run.start_s < 0.5 + ended - began
    assert abs(root.start_s - row["created_at"].timestamp()) < 0.05
    assert root.attributes["messaging.message.id"] == str(job)
    assert run.attributes["gen_ai.usage.output_tokens"] > 0
    assert run.attributes["gen_ai.request.model"] == "chat-fake"
    assert root.resource["service.name"] == "ourvidz-worker"
    assert collector.headers[0]["x-collector-key"] == "secret-of-collector"
    assert "secret-of-collector" not in worker.log
    assert MARK.encode() not in collector.raw


async def test_attempts_stand_in_one_trace_and_errors_are_told(
    direct: Project, daemon: StartDaemon, collector: Collector
) -> None:
    """A job without a trace has its own, by its id: a lost engine, then the failure."""
    async with daemon(direct, **to(collector.url)):
        job = await insert(direct, "sdxl_image_fast", fake={"crash": 3})
        await direct.until(job, "failed")

        def told() -> bool:
            return "job sdxl_image_fast" in collector.of_trace(job.hex)

        await eventually(told, what="the trace")
    attempts = [span for span in collector.spans if span.name == "attempt"]
    root = collector.of_trace(job.hex)["job sdxl_image_fast"]

    assert [(each.failed, each.attributes["error.type"]) for each in attempts] == [
        (True, "engine_lost"), (True, "GENERATION_FAILED"),
    ]  # fmt: skip
    assert {each.parent_id for each in attempts} == {root.span_id}
    assert (root.parent_id, root.failed) == ("", True)


async def test_a_request_continues_its_header_s_trace(
    direct: Project, daemon: StartDaemon, collector: Collector
) -> None:
    """On one connection each request has its own, and the log names it."""
    async with (
        daemon(direct, **to(collector.url)) as worker,
        httpx.AsyncClient(base_url=worker.url, timeout=120) as client,
    ):
        body = {"message": MARK, "system_prompt": ""}
        await client.post("/chat", json=body, headers={"traceparent": SENT})
        await client.post("/chat", json=body)
        await eventually(
            lambda: len([each for each in collector.spans if each.name == "job chat"]) == 2,
            what="both traces",
        )
    first, second = [each for each in collector.spans if each.name == "job chat"]

    assert (first.trace_id, first.parent_id) == (TRACE, SPAN)
    assert second.trace_id != TRACE
    assert second.parent_id == ""
    assert worker.log.count(f"trace_id={TRACE}") >= 2
    assert MARK.encode() not in collector.raw


async def test_a_collector_that_is_away_costs_nothing(direct: Project, daemon: StartDaemon) -> None:
    """One line in the log; traces arrive when it is there, and the stop doesn't wait long."""
    port = free_port()
    async with daemon(direct, **to(f"http://127.0.0.1:{port}/v1/traces")) as worker:
        for _ in range(3):
            await direct.until(await insert(direct), "completed")
        await eventually(lambda: "traces don't arrive" in worker.log, what="it says so")
        async with Collector().running(port) as late:
            job = await insert(direct)
            await direct.until(job, "completed")
            await eventually(lambda: late.of_trace(job.hex), what="the trace")
            await eventually(lambda: "traces arrive again" in worker.log, what="it says so")
            log = worker.log
        await insert(direct)
        await worker.stop(within_s=30)

    assert log.count("traces don't arrive") == 1


async def test_traces_are_off_by_default(direct: Project, daemon: StartDaemon) -> None:
    """Neither their libraries nor the broker's are imported."""
    async with daemon(direct) as worker:
        await direct.until(await insert(direct), "completed")
        with open(f"/proc/{worker.process.pid}/maps") as maps:  # noqa: ASYNC230, PTH123 -- the kernel's
            loaded = maps.read()

    assert "asyncpg" in loaded
    assert "google/_upb" not in loaded
