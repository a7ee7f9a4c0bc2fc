"""The dashboard for depth: where jobs' time goes, what models hold, and every part by itself."""

from typing import Any

from monitoring.boards import board
from monitoring.depth_links import links
from monitoring.depth_models import models
from monitoring.panels import Builder, Look, graph
from monitoring.promql import chosen, mean, quantile

PHASE = "ourvidz_job_phase_seconds"


def depth() -> dict[str, Any]:
    """Return the dashboard as JSON."""
    return board(
        "ourvidz-depth",
        "ourvidz-worker: in depth",
        "Where jobs' time goes, what the models hold, and every part by itself.",
        [
            ("Where time goes", [*_phases(), *_waits()]),
            *models(),
            *links(),
            ("The process", _process()),
        ],
    )


def _phases() -> list[Builder]:
    return [
        graph(
            "Time by phase",
            "Mean over the jobs that had the phase: hearing of the row, the queue, waiting for"
            " memory, for switches and for loads, the run, the upload, recording the outcome.",
            [(mean(PHASE, "phase"), "{{phase}}")],
            Look("s", width=12),
        ),
        graph(
            "Time by phase, 95th percentile",
            "Of the jobs that had the phase.",
            [(quantile(0.95, PHASE, "phase"), "{{phase}}")],
            Look("s", width=12),
        ),
    ]


def _waits() -> list[Builder]:
    return [
        graph(
            "Runs",
            "Time in the engine by model, mean and 95th percentile.",
            [
                (mean(PHASE, "model", where='phase="run"'), "{{model}} mean"),
                (quantile(0.95, PHASE, "model", where='phase="run"'), "{{model}} p95"),
            ],
            Look("s"),
        ),
        graph(
            "Waiting for the GPU",
            "The longest wait among claimed jobs, by class.",
            [
                (
                    "max by (model, quality) (ourvidz_admission_oldest_seconds{*})",
                    "{{model}} {{quality}}",
                )
            ],
            Look("s"),
        ),
        graph(
            "Promises kept",
            "Completed jobs that ended by the moment that they were first told, and runs that"
            " stayed within their reservation.",
            [
                (chosen("ourvidz_eta_coverage_ratio"), "{{instance}} ends"),
                (chosen("ourvidz_eta_queued_coverage_ratio"), "{{instance}} ends of queued rows"),
                (
                    "min by (model, quality) (ourvidz_reservation_coverage_ratio{*})",
                    "memory, {{model}} {{quality}}",
                ),
            ],
            Look("percentunit", most=1, alarm=0.9, below=True),
        ),
    ]


def _process() -> list[Builder]:
    lag = "ourvidz_event_loop_lag_seconds"
    used, there = chosen("ourvidz_disk_used_bytes"), chosen("ourvidz_disk_total_bytes")
    return [
        graph(
            "Event loop lag",
            "How much too late the loop is for a call. From some 0.1 s on it shows in progress and"
            " answers; leases are renewed by a thread of their own.",
            [
                (quantile(0.5, lag, "instance"), "{{instance}} p50"),
                (quantile(0.99, lag, "instance"), "{{instance}} p99"),
            ],
            Look("s", width=6, alarm=0.1),
        ),
        graph(
            "Memory of the daemon",
            "Resident, without its engines.",
            [(chosen("ourvidz_process_resident_memory_bytes"), "{{instance}}")],
            Look("bytes", width=6),
        ),
        graph(
            "Disk",
            "In use of the file system of the state folder.",
            [(f"{used} / {there}", "{{instance}}")],
            Look("percentunit", width=6, most=1, alarm=0.9),
        ),
        graph(
            "Uptime",
            "Since the start of the process.",
            [("time() - ourvidz_start_time_seconds{*}", "{{instance}}")],
            Look("s", width=6),
        ),
    ]
