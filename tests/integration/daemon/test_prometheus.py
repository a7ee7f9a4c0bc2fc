"""A real Prometheus, as it is shipped to be set up, scrapes a worker: every query has an answer."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
import pytest_asyncio
from daemon_process import TAKING_TURNS, Daemon
from eventually import eventually
from monitoring_files import Query, drawn, exposed, rules
from projects import DirectServer, Project
from prometheus_client.parser import text_string_to_metric_families
from prometheus_process import Prometheus, prometheus, prometheus_program
from worked import GPUS

from daemon.job_types import JOB_TYPES
from daemon.telemetry.metrics import Metrics

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "a-key-of-an-operator"

SETTINGS = {
    **TAKING_TURNS,
    **{
        f"OURVIDZ_MODELS__{model}__OPTIONS__{name}": value
        for model in ("SDXL", "VIDEO")
        for name, value in {"WEIGHTS": str(64 * 2**20), "OFFLOAD": "true"}.items()
    },
    # Of the device's 20 GB the book leaves less than what the other one really holds.
    **{
        f"OURVIDZ_MODELS__{model}__{name}": "19.95"
        for model in ("SDXL", "VIDEO")
        for name in ("WEIGHTS_GB", "FOOTPRINT_GB__FAST", "FOOTPRINT_GB__HIGH")
    },
    "OURVIDZ_DEVICE__HOST_GB": "24",
    "WORKER_API_KEY": KEY,
}
"""Models that take turns on the device, so that they are moved to the host's memory and back."""

WITHOUT_GPU = {
    "glance: Utilisation A",
    "glance: Memory in use A",
    "glance: Temperature A",
    "glance: Power A",
    "rule job:ourvidz_gpu_utilization:ratio",
    "rule job:ourvidz_memory_usage:bytes",
}
"""A worker on a CPU has no such figures: another target shows them."""


OF_GPUS = {
    "ourvidz_gpu_utilization_ratio",
    "ourvidz_gpu_memory_used_bytes",
    "ourvidz_gpu_memory_total_bytes",
    "ourvidz_gpu_temperature_celsius",
    "ourvidz_gpu_power_watts",
}


@contextmanager
def gpu_worker() -> Iterator[str]:
    """Serve what the shipped metrics show of two GPUs; yield its address."""
    metrics = Metrics()
    metrics.gpus(GPUS)
    metrics.ready(ready=True)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(metrics.exposition())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class Watched:
    """A worker that has done jobs of all types, and the Prometheus that watched."""

    def __init__(self, worker: Daemon, project: Project, seen: Prometheus, gpus: str) -> None:
        self.worker = worker
        self.project = project
        self.prometheus = seen
        self.instance = f"127.0.0.1:{worker.port}"
        self.gpus = gpus

    async def work(self) -> None:
        """Do a job of each type, some out of memory at first and one that fails, until seen."""
        before = await self.finished()
        # The first run of an engine runs out of memory; it must be the first.
        jobs = [await self.project.insert("wan_image_fast", oom_times=1)]
        await self.project.until(jobs[0], "completed")
        jobs += [await self.project.insert(job_type, steps=2) for job_type in JOB_TYPES]
        failing = await self.project.insert("sdxl_image_fast", fail="out of ideas")
        for job in jobs:
            await self.project.until(job, "completed", within_s=90)
        await self.project.until(failing, "failed", within_s=90)
        done = len(jobs) + 1

        async def scraped() -> bool:
            return await self.finished() >= before + done

        await eventually(scraped)

    async def keep_a_promise(self) -> None:
        """Do jobs that take longer than from one look ahead to the next, until one was promised."""

        async def promised() -> bool:
            job = await self.project.insert("chat", steps=20, step_s=0.1)
            await self.project.until(job, "completed")
            return "ourvidz_eta_coverage_ratio NaN" not in await self.exposition()

        await eventually(promised, 60)

    async def tell_the_queue(self, folder: Path) -> None:
        """Hold a run up until those behind it in the table are told an end; then let all go on."""
        hold = folder / "hold"
        jobs = [await self.project.insert("video_fast", hold=str(hold)) for _ in range(4)]

        async def told() -> bool:
            rows = [await self.project.database.row(job) for job in jobs]
            queued = [row for row in rows if row["status"] == "queued"]
            return any(row["estimated_completion"] for row in queued)

        await eventually(told)
        hold.touch()
        for job in jobs:
            await self.project.until(job, "completed")

    async def finished(self) -> float:
        """Return how many runs Prometheus has heard of."""
        found = await self.prometheus.value(
            f'sum(ourvidz_jobs_finished_total{{instance="{self.instance}"}})'
        )
        return 0.0 if found != found else found  # noqa: PLR0124  # NaN: not scraped yet

    async def exposition(self) -> str:
        """Return what the worker shows."""
        async with httpx.AsyncClient(headers={"X-API-Key": KEY}) as client:
            return (await client.get(f"{self.worker.url}/metrics")).text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(
    direct_server: DirectServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Watched]:
    """Let a worker do jobs under the eyes of Prometheus; all tests look at what it saw."""
    prometheus_program()
    folder = tmp_path_factory.mktemp("watched")
    async with direct_server.project(folder / "files") as project:
        settings = {**project.environment, **SETTINGS}
        worker = Daemon(folder / "host", settings, secrets=[*project.secrets, KEY])
        (folder / "prometheus").mkdir()
        with gpu_worker() as gpus:
            async with worker:
                targets = [f"127.0.0.1:{worker.port}", gpus]
                async with prometheus(folder / "prometheus", targets, KEY) as seen:
                    found = Watched(worker, project, seen, gpus)
                    await eventually(lambda: heard_of(found))
                    # A series that appears has no rate before its second sight.
                    await found.work()
                    await found.keep_a_promise()
                    await found.tell_the_queue(folder)
                    await found.work()
                    yield found


async def heard_of(found: Watched) -> bool:
    """Say whether both targets have been scraped."""
    return await found.prometheus.value("sum(up)") == 2


def asked() -> list[Query]:
    """Return each panel's query, and each rule's without what it compares with."""
    found = list(drawn())
    for rule in rules():
        name = rule.get("alert") or rule["record"]
        if "record" in rule:
            found.append(Query(f"rule {name}", rule["expr"]))
            continue
        for number, part in enumerate(re.split(r"\s+and\s+", rule["expr"].strip())):
            expr = re.sub(r"\s*(==|>=|>)\s*[\d.]+$", "", part)
            assert expr != part, "an alert compares with a number"
            found.append(Query(f"rule {name} {number}", expr))
    return found


@pytest.mark.parametrize("query", asked(), ids=str)
async def test_query_has_an_answer(watched: Watched, query: Query) -> None:
    """A figure at some time of the work, not only NaN; of GPUs at the target that has some."""
    has_gpus = query.where not in WITHOUT_GPU
    instance = watched.instance if has_gpus else watched.gpus

    assert await watched.prometheus.known(query.expr, instance)


async def test_nothing_is_wrong(watched: Watched) -> None:
    """All rules are loaded and evaluated without an error, and no alert fires or will.

    One scrape of a busy machine may come too late, and has an alert wait to fire; the next ends it.
    """

    async def evaluated() -> list[dict[str, Any]]:
        groups = (await watched.prometheus.ask("rules"))["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        return found if all(rule["health"] != "unknown" for rule in found) else []

    found = await eventually(evaluated)

    assert len(found) == len(rules())
    assert [rule for rule in found if rule["health"] != "ok"] == []

    async def quiet() -> bool:
        alerts = (await watched.prometheus.ask("alerts"))["alerts"]
        assert not [each for each in alerts if each["state"] == "firing"]
        return alerts == []

    await eventually(quiet, what="no alert waits to fire")


async def test_variables_have_values(watched: Watched) -> None:
    """The dashboards' variables find the worker by its job, type and instance."""
    [found] = (await watched.prometheus.ask("query", query="ourvidz_worker_info"))["result"]

    labels = found["metric"]
    assert (labels["job"], labels["worker_type"]) == ("ourvidz-worker", "all")
    assert labels["instance"] == watched.instance


async def test_a_worker_at_work_shows_all_that_is_described(watched: Watched) -> None:
    """Every metric of the reference, with its labels; GPU figures alone need a GPU."""
    families = {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in text_string_to_metric_families(await watched.exposition())
    }
    described = {each.name: each for each in exposed().values()}

    assert set(families) == set(described)
    silent = {name for name, family in families.items() if not family.samples}
    assert silent == OF_GPUS
    for name, family in families.items():
        labels = {label.name: label for label in described[name].labels}
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(labels)
            for label, value in sample.labels.items():
                if label != "le" and labels[label].values:
                    assert value in labels[label].values
