"""Held jobs, one by one: where each is, why it waits, and nothing of what it is about."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from admission_host import Host, host, settled
from scripted import a_job
from virtual_gpu import CHAT, SDXL, VIDEO, request

from daemon.job_reports import job_reports
from daemon.job_run import JobRun, Phase
from daemon.scheduling.models import ModelSpec
from daemon.values import StepReport


class Bench:
    """Admissions with fake engines, and jobs that are held beside them."""

    def __init__(self, gpu: Host) -> None:
        self.gpu = gpu
        self.runs: dict[str, JobRun] = {}
        self._lives: list[asyncio.Task[Any]] = []

    def holds(self, name: str, phase: Phase = Phase.WAITING, **job: Any) -> JobRun:
        run = JobRun(a_job(**job), time.monotonic(), time.monotonic, phase=phase)
        self.runs[name] = run
        return run

    async def asks(self, name: str, model: str, quality: str = "fast", **more: Any) -> JobRun:
        """Hold a job, and let it ask for the GPU."""
        run = self.holds(name)
        admission = self.gpu.admissions.admit(request(name, model, quality, **more))
        self._lives.append(asyncio.create_task(self._live(run, admission)))
        await settled()
        return run

    async def _live(self, run: JobRun, admission: Any) -> None:
        async with admission as engine:
            run.waited_for_gpu(engine.waited)
            run.enter(Phase.RUNNING)
            await asyncio.Event().wait()

    def reports(self) -> dict[str, dict[str, Any]]:
        parts: Any = SimpleNamespace(
            admissions=self.gpu.admissions, executor=SimpleNamespace(runs=self.runs)
        )
        return dict(zip(self.runs, job_reports(parts), strict=True))

    async def end(self) -> None:
        for life in self._lives:
            life.cancel()
        await settled()


@asynccontextmanager
async def bench_of(*models: ModelSpec) -> AsyncIterator[Bench]:
    async with host(*models) as gpu:
        bench = Bench(gpu)
        try:
            yield bench
        finally:
            await bench.end()


async def test_a_job_is_told_from_its_load_to_its_run() -> None:
    """First what it waits for, then where it runs, and what it had waited for."""
    async with bench_of(VIDEO) as bench:
        run = await bench.asks("a", "video")
        bench.gpu.clock.now = 5.0
        report = bench.reports()["a"]
        assert (report["phase"], report["device"]) == ("waiting", None)
        assert report["waits_for"] == "video is being loaded: 5 s of about 10 s"
        assert report["waited_s"] == {"queue": 0, "vram": 0, "switch": 0, "load": 5}

        await bench.gpu.loaded()
        run.progress_of(StepReport("generating_video", 0.25))
        report = bench.reports()["a"]
        assert (report["phase"], report["device"], report["waits_for"]) == ("running", 0, None)
        assert (report["progress"], report["current_step"]) == (25, "generating_video")
        assert report["waited_s"]["load"] == 5


async def test_each_waits_for_its_own_reason() -> None:
    """One for a slot, one for memory that another model's run holds."""
    async with bench_of(VIDEO, SDXL) as bench:
        await bench.asks("runs", "video")
        await bench.gpu.loaded()
        await bench.asks("next", "video")
        await bench.asks("other", "sdxl", "high")
        reports = bench.reports()

        assert reports["runs"]["waits_for"] is None
        assert reports["next"]["waits_for"].startswith("every slot of video is taken; a run")
        assert reports["other"]["waits_for"].startswith("the memory it needs is held by video: ")


async def test_who_needs_the_device_for_itself_is_told_apart() -> None:
    """From jobs of the same class that wait as usual."""
    async with bench_of(CHAT) as bench:
        await bench.asks("runs", "chat")
        await bench.gpu.loaded()
        for number in range(CHAT.qualities["fast"].concurrency - 1):
            await bench.asks(f"runs {number}", "chat")
        await bench.asks("exclusive", "chat", exclusive=True)
        await bench.asks("usual", "chat")
        reports = bench.reports()

        assert reports["exclusive"]["waits_for"].startswith("it needs the device for itself, ")
        assert reports["usual"]["waits_for"].startswith("every slot of chat is taken; ")


async def test_jobs_that_the_scheduler_does_not_know_yet() -> None:
    """Their model's engine is kept from them, or from others for their sake."""
    async with bench_of(CHAT) as bench:
        bench.holds("kept away")
        bench.holds("suspect", engine_losses=1)
        bench.holds("uploads", Phase.UPLOADING)
        reports = bench.reports()

        assert reports["kept away"]["waits_for"].startswith("another job has its model's engine")
        assert reports["suspect"]["waits_for"].startswith("its model's engine must be free of")
        assert reports["uploads"]["waits_for"] is None


async def test_the_expected_end_is_a_moment() -> None:
    """As long as none is foretold there is none; what is overdue ends now."""
    async with bench_of(CHAT) as bench:
        bench.holds("unknown")
        bench.holds("soon").ends_at = time.monotonic() + 3600
        bench.holds("overdue").ends_at = time.monotonic() - 3600
        reports = bench.reports()

        assert reports["unknown"]["estimated_completion"] is None
        moments = [
            datetime.fromisoformat(reports[name]["estimated_completion"])
            for name in ("overdue", "soon")
        ]
        assert 3590 < (moments[1] - moments[0]).total_seconds() <= 3610
        assert moments[0].tzinfo == UTC


async def test_a_report_tells_nothing_of_the_user_or_the_request() -> None:
    """The status is for operators: ids and types, no prompts, and all of it JSON."""
    async with bench_of(CHAT) as bench:
        user_id = bench.holds("a", request={"prompt": "a secret"}).job.user_id
        told = json.dumps(bench.reports())

        assert "secret" not in told
        assert str(user_id) not in told
