"""One call per act, and what a scrape then shows."""

import math
from typing import get_args

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from daemon import jobs
from daemon.job_types import JOB_TYPES, Model
from daemon.server.reports import ModelState
from daemon.telemetry.gpu import GpuSample
from daemon.telemetry.host import HostSample
from daemon.telemetry.metrics import Metrics
from daemon.telemetry.series.labels import OUTCOME, STATE
from daemon.values import Backlog, Loss

GIB = 2**30

SOURCE = {
    "ready": True,
    "proven": False,
    "hints": 1,
    "last_proof_s": 2.5,
    "canary_delay_s": None,
    "missed_hints": 2,
    "missed_canaries": 3,
    "doubts": 4,
    "generations": 5,
}
"""What `ProofOfLife.states` says of a source, as far as it is counted."""


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def scraped(metrics: Metrics) -> dict[str, float]:
    """Return the exposition as `name{label="value"}` to value, labels in order of their names."""
    samples = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            labels = ",".join(f'{key}="{sample.labels[key]}"' for key in sorted(sample.labels))
            samples[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return samples


def test_documented_names_exist_from_the_start(metrics: Metrics) -> None:
    """The six names of the API document; figures that aren't known are NaN, not 0."""
    found = scraped(metrics)

    assert found["ourvidz_jobs_processed"] == 0
    for name in (
        "average_generation_time",
        "success_rate",
        "gpu_utilization",
        "memory_usage",
        "system_prompt_respect_rate",
    ):
        assert math.isnan(found[f"ourvidz_{name}"]), name


def test_finished_jobs_feed_counters_and_documented_figures(metrics: Metrics) -> None:
    """One call feeds the counter, the histogram, the gauges and `/status`."""
    metrics.job_finished("sdxl_image_fast", "completed", 14.0)
    metrics.job_finished("sdxl_image_fast", "completed", 16.0)
    metrics.job_finished("chat", "failed", 1.0, "VRAM_OVERFLOW")
    metrics.job_finished("chat", "cancelled", 1.0)
    found = scraped(metrics)

    assert found['ourvidz_jobs_finished_total{job_type="sdxl_image_fast",outcome="completed"}'] == 2
    assert found['ourvidz_jobs_finished_total{job_type="chat",outcome="failed"}'] == 1
    assert found['ourvidz_job_errors_total{code="VRAM_OVERFLOW"}'] == 1
    assert found['ourvidz_job_generation_seconds_sum{model="sdxl"}'] == 30.0
    assert found["ourvidz_jobs_processed"] == 3
    assert found["ourvidz_average_generation_time"] == 15.0
    assert found["ourvidz_success_rate"] == 66.7
    assert metrics.performance().jobs_completed == 2


def test_labels_of_strangers_are_bounded(metrics: Metrics) -> None:
    """A row's job type is written by anybody: it must not make a series."""
    for number in range(50):
        name = f"type-{number}"
        metrics.jobs_claimed(name)
        metrics.job_finished(name, name, 1.0, name)
        metrics.job_phase(name, name, 1.0)
        metrics.model_state(name, "loaded")
        metrics.queue_counted([Backlog(name, 1, 0, 1.0), Backlog(f"{name}x", 2, 0, 1.0)])

    assert not [line for line in scraped(metrics) if "type-" in line]
    assert (
        scraped(metrics)[
            'ourvidz_queue_jobs{job_type="other",model="other",quality="other",status="queued"}'
        ]
        == 3
    )


def test_failures_are_countable_from_zero(metrics: Metrics) -> None:
    """A counter that appears at 1 has no increase, so that its first alert would be missed."""
    metrics.jobs_claimed("chat")
    metrics.model_state("chat", "unloaded")
    metrics.store_call("claim", 0.01)
    found = scraped(metrics)

    assert found['ourvidz_jobs_finished_total{job_type="chat",outcome="failed"}'] == 0
    assert found['ourvidz_model_load_failures_total{model="chat"}'] == 0
    assert found['ourvidz_engine_deaths_total{loss="hung",model="chat"}'] == 0
    assert found['ourvidz_store_errors_total{call="claim",error="unavailable"}'] == 0


def test_phases_are_timed_by_model(metrics: Metrics) -> None:
    """By model, not by job type: a histogram is many series already."""
    metrics.job_phase("image7b_fast_enhanced", "run", 5.0)

    assert scraped(metrics)['ourvidz_job_phase_seconds_sum{model="wan",phase="run"}'] == 5.0


def test_model_is_in_one_state(metrics: Metrics) -> None:
    """The state before is 0 again."""
    metrics.model_state("video", "loading")
    metrics.model_state("video", "loaded")
    found = scraped(metrics)

    shown = {
        state: found[f'ourvidz_model_residency{{model="video",state="{state}"}}']
        for state in STATE.values
    }
    assert shown == {**dict.fromkeys(STATE.values, 0), "loaded": 1}


def test_queue_that_emptied_is_empty(metrics: Metrics) -> None:
    """A job type that isn't counted any more must not stay at its last figure."""
    metrics.queue_counted([Backlog("chat", 3, 1, 12.0), Backlog("unheard-of", 1, 0, 4.0)])
    before = scraped(metrics)
    metrics.queue_counted([])
    after = scraped(metrics)

    chat, unknown = (
        'ourvidz_queue_oldest_seconds{job_type="chat",model="chat",quality="fast"}',
        'ourvidz_queue_oldest_seconds{job_type="other",model="other",quality="other"}',
    )
    assert (before[chat], before[unknown]) == (12.0, 4.0)
    assert after[chat] == 0
    assert unknown not in after
    assert {value for name, value in after.items() if name.startswith("ourvidz_queue")} == {0}


def test_queue_that_cannot_be_counted_shows_nothing(metrics: Metrics) -> None:
    """An old count would be shown as a fresh one."""
    metrics.queue_counted([Backlog("chat", 3, 1, 12.0)])
    metrics.queue_counted(None)

    assert not [line for line in scraped(metrics) if line.startswith("ourvidz_queue")]


def test_gpu_figures_come_in_units_of_both_worlds(metrics: Metrics) -> None:
    """Ratios and bytes by device; percent and GB under the documented names."""
    metrics.gpus((GpuSample(0, "A", 45.2, int(8.5 * GIB), 48 * GIB, 61.0, 212.5),))
    found = scraped(metrics)

    assert found['ourvidz_gpu_utilization_ratio{device="0"}'] == pytest.approx(0.452)
    assert found['ourvidz_gpu_memory_used_bytes{device="0"}'] == 8.5 * GIB
    assert found['ourvidz_gpu_memory_total_bytes{device="0"}'] == 48 * GIB
    assert found['ourvidz_gpu_temperature_celsius{device="0"}'] == 61.0
    assert found['ourvidz_gpu_power_watts{device="0"}'] == 212.5
    assert found["ourvidz_gpu_utilization"] == 45.2
    assert found["ourvidz_memory_usage"] == 8.5


def test_gpu_that_fell_silent_shows_nothing(metrics: Metrics) -> None:
    """Old figures would look like an idle, healthy GPU."""
    metrics.gpus((GpuSample(0, "A", 45.2, GIB, 48 * GIB, 61.0),))
    metrics.gpus(())
    found = scraped(metrics)

    assert math.isnan(found["ourvidz_gpu_utilization"])
    assert not [line for line in found if 'device="0"' in line]


def test_system_prompt_respect_rate_is_measured(metrics: Metrics) -> None:
    """Percent of chat runs that got exactly the caller's messages; nothing before the first."""
    assert metrics.performance().system_prompt_respect_rate is None
    for respected in (True, True, False):
        metrics.respect.used(respected=respected)
    found = scraped(metrics)

    assert found["ourvidz_system_prompt_respect_rate"] == pytest.approx(200 / 3)
    assert found["ourvidz_system_prompts_used_total"] == 3
    assert found["ourvidz_system_prompts_respected_total"] == 2
    assert found["ourvidz_system_prompts_overridden_total"] == 1
    assert metrics.performance().system_prompt_respect_rate == 66.7


SHOWN = {
    "ourvidz_active_jobs": 2,
    "ourvidz_leases_held": 3,
    "ourvidz_leases_lost_total": 1,
    "ourvidz_lease_renew_failures_total": 1,
    'ourvidz_wakeup_hints_total{source="realtime"}': 1,
    'ourvidz_wakeup_source_ready{source="realtime"}': 1,
    'ourvidz_wakeup_source_proven{source="realtime"}': 0,
    'ourvidz_wakeup_proof_age_seconds{source="realtime"}': 2.5,
    'ourvidz_wakeup_missed_jobs_total{source="realtime"}': 2,
    'ourvidz_wakeup_missed_canaries_total{source="realtime"}': 3,
    'ourvidz_wakeup_doubts_total{source="realtime"}': 4,
    'ourvidz_wakeup_connections_total{source="realtime"}': 5,
    "ourvidz_sweep_rescued_jobs_total": 4,
    "ourvidz_sweep_failed_jobs_total": 5,
    'ourvidz_model_load_seconds_sum{model="sdxl",origin="disk"}': 20.0,
    'ourvidz_model_load_failures_total{model="sdxl"}': 1,
    'ourvidz_model_evictions_total{model="sdxl"}': 1,
    'ourvidz_engine_deaths_total{loss="hung",model="sdxl"}': 1,
    'ourvidz_vram_bytes{device="1",kind="weights"}': 7,
    'ourvidz_store_call_seconds_count{call="finish"}': 1,
    'ourvidz_store_errors_total{call="finish",error="rejected"}': 1,
    'ourvidz_store_errors_total{call="finish",error="unavailable"}': 0,
    "ourvidz_process_resident_memory_bytes": 1,
    "ourvidz_disk_total_bytes": 3,
    'ourvidz_worker_info{version="0.1.0",worker_type="all"}': 1,
    "ourvidz_start_time_seconds": 1000.0,
    "ourvidz_ready": 1,
}
"""What is shown when each act below was done once."""


def test_every_other_event_is_shown(metrics: Metrics) -> None:
    """One act, one figure."""
    metrics.jobs_active(2)
    metrics.leases_held(3)
    metrics.leases_counted(lost=1, renew_failures=1)
    metrics.wakeup_source("realtime", SOURCE)
    metrics.swept(4, 5)
    metrics.engines.loaded("sdxl", 20.0)
    metrics.engines.load_failed("sdxl")
    metrics.engines.evicted("sdxl")
    metrics.engines.died("sdxl", Loss.HUNG)
    metrics.vram(1, {"weights": 7, "unknown": 8})
    metrics.store_call("finish", 0.2, "rejected")
    metrics.host(HostSample(1, None, 3))
    metrics.started("all", "0.1.0", 1000.0)
    metrics.ready(ready=True)
    found = scraped(metrics)

    assert {name: found.get(name) for name in SHOWN} == SHOWN
    assert math.isnan(found["ourvidz_disk_used_bytes"])
    assert math.isnan(found['ourvidz_wakeup_canary_delay_seconds{source="realtime"}'])


def test_totals_of_others_are_not_counted_twice(metrics: Metrics) -> None:
    """Every scrape hands the same totals over again; one that fell counts nothing back."""
    for total in (3, 3, 5):
        metrics.leases_counted(lost=total, renew_failures=0)
        metrics.wakeup_source("realtime", {**SOURCE, "hints": total})
        metrics.wakeup_source("listen", {**SOURCE, "hints": 10 * total})
    metrics.wakeup_source("listen", {**SOURCE, "hints": 0})
    found = scraped(metrics)

    assert found["ourvidz_leases_lost_total"] == 5
    assert found['ourvidz_wakeup_hints_total{source="realtime"}'] == 5
    assert found['ourvidz_wakeup_hints_total{source="listen"}'] == 50
    assert found['ourvidz_wakeup_connections_total{source="listen"}'] == 5


def test_nothing_is_registered_globally() -> None:
    """Two daemons in one process don't collide, and the library's own registry stays as it is."""
    before = set(REGISTRY._names_to_collectors)

    Metrics(), Metrics()

    assert set(REGISTRY._names_to_collectors) == before


def test_words_are_those_of_the_domain() -> None:
    """The metrics' words don't drift from the types that they describe."""
    assert set(STATE.values) == set(ModelState)
    assert {kind.__name__.lower() for kind in get_args(jobs.Outcome)} <= set(OUTCOME.values)
    assert {known.model for known in JOB_TYPES.values()} == set(Model)
