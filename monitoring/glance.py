"""The dashboard at a glance: is it healthy, how long do jobs wait, what comes out, what fails."""

from typing import Any

from monitoring.boards import board
from monitoring.panels import Builder, Look, graph, number
from monitoring.promql import chosen, greatest, hourly, mean, per_minute, quantile, rate, total

FINISHED = "ourvidz_jobs_finished_total"
COMPLETED = 'outcome="completed"'
PHASE = "ourvidz_job_phase_seconds"


def glance() -> dict[str, Any]:
    """Return the dashboard as JSON."""
    return board(
        "ourvidz-glance",
        "ourvidz-worker: at a glance",
        "Are the workers healthy, how long do jobs wait, what comes out and what fails.",
        [
            ("Now", [*_workers(), *_outcomes()]),
            ("Queue", _queue()),
            ("Throughput and errors", [*_throughput(), *_seconds()]),
            ("GPUs", _gpus()),
        ],
    )


def _workers() -> list[Builder]:
    return [
        number(
            "Workers that take work",
            "Ready workers. One that isn't drains, starts, or can't reach the database.",
            "sum(ourvidz_ready{*})",
            Look(width=4, alarm=1, below=True, decimals=0),
        ),
        number(
            "Workers that don't answer",
            "Scrapes that failed, of all workers: one that is long gone is in no list of workers.",
            'count(up{job=~"$job"} == 0) or vector(0)',
            Look(width=4, alarm=1, decimals=0),
        ),
        number(
            "Alerts that fire",
            "Of the rules in monitoring/rules; docs/runbook.md says what to do.",
            'count(ALERTS{alertstate="firing",service="ourvidz-worker"}) or vector(0)',
            Look(width=4, alarm=1, decimals=0),
        ),
        number(
            "Oldest queued job",
            "How long the first row in the table has waited.",
            "max(ourvidz_queue_oldest_seconds{*})",
            Look("s", width=4, alarm=300, decimals=0),
        ),
    ]


def _outcomes() -> list[Builder]:
    ended = hourly(FINISHED, where='outcome=~"completed|failed"')
    used = hourly("ourvidz_system_prompts_used_total")
    return [
        number(
            "Success, last hour",
            "Completed of completed and failed. Cancelled and released runs don't count.",
            f"{hourly(FINISHED, where=COMPLETED)} / {ended}",
            Look("percentunit", width=4, alarm=0.95, below=True, most=1, decimals=1),
        ),
        number(
            "Prompts respected, last hour",
            "Answers that are proven to rest on the caller's messages and nothing else.",
            f"{hourly('ourvidz_system_prompts_respected_total')} / {used}",
            Look("percentunit", width=4, alarm=1, below=True, most=1, decimals=1),
        ),
    ]


def _queue() -> list[Builder]:
    each_type = greatest(
        "ourvidz_queue_jobs", "job_type", "model", "quality", where='status="queued"'
    )
    return [
        graph(
            "Age of the oldest queued job",
            "By class. Above the dashed line an alert follows.",
            [
                (
                    greatest("ourvidz_queue_oldest_seconds", "model", "quality"),
                    "{{model}} {{quality}}",
                )
            ],
            Look("s", alarm=300),
        ),
        graph(
            "Queued jobs",
            "Rows that nobody has claimed, by class. All workers count the same table.",
            [(f"sum by (model, quality) ({each_type})", "{{model}} {{quality}}")],
            Look(stacked=True),
        ),
        graph(
            "Jobs at the workers",
            "Held now, and of these those that wait for the GPU.",
            [
                ("sum(ourvidz_active_jobs{*})", "held"),
                ("sum(ourvidz_admission_waiting_jobs{*})", "waiting for the GPU"),
            ],
            Look(),
        ),
    ]


def _throughput() -> list[Builder]:
    return [
        graph(
            "Jobs per minute",
            "Completed runs by job type.",
            [(f"{per_minute(FINISHED, 'job_type', where=COMPLETED)} > 0", "{{job_type}}")],
            Look(stacked=True),
        ),
        graph(
            "Runs that didn't complete, per minute",
            "By how they ended: failed for good, to be retried, cancelled by the owner, released"
            " by a stop or a lost engine, or the lease lost.",
            [(per_minute(FINISHED, "outcome", where='outcome!="completed"'), "{{outcome}}")],
            Look(),
        ),
        graph(
            "Errors, per minute",
            "Failed and retried runs by error code.",
            [(per_minute("ourvidz_job_errors_total", "code"), "{{code}}")],
            Look(),
        ),
    ]


def _seconds() -> list[Builder]:
    before = rate(f"{PHASE}_sum", "model", where='phase=~"wake_up|queue|vram|switch|load"')
    jobs = rate(f"{PHASE}_count", "model", where='phase="queue"')
    generation = "ourvidz_job_generation_seconds"
    return [
        graph(
            "Time of generation",
            "Completed runs, mean and 95th percentile by model.",
            [
                (mean(generation, "model"), "{{model}} mean"),
                (quantile(0.95, generation, "model"), "{{model}} p95"),
            ],
            Look("s", width=12),
        ),
        graph(
            "Time before a run begins",
            "From the row's due time to its run, mean by model: hearing of it, the queue, memory,"
            " switches and loads.",
            [(f"{before} / {jobs}", "{{model}}")],
            Look("s", width=12),
        ),
    ]


def _gpus() -> list[Builder]:
    where = "{{instance}} GPU {{device}}"
    used, there = chosen("ourvidz_gpu_memory_used_bytes"), chosen("ourvidz_gpu_memory_total_bytes")
    return [
        graph(
            "Utilisation",
            "Share of time in which a kernel ran.",
            [(chosen("ourvidz_gpu_utilization_ratio"), where)],
            Look("percentunit", width=6, most=1),
        ),
        graph(
            "Memory in use",
            "By anybody, of what there is.",
            [(f"{used} / {there}", where)],
            Look("percentunit", width=6, most=1, alarm=0.98),
        ),
        graph(
            "Temperature",
            "From some 85 °C on most boards slow down.",
            [(chosen("ourvidz_gpu_temperature_celsius"), where)],
            Look("celsius", width=6, least=None, alarm=85),
        ),
        graph(
            "Power",
            "What the boards of a worker draw together.",
            [(total("ourvidz_gpu_power_watts", "instance"), "{{instance}}")],
            Look("watt", width=6),
        ),
    ]
