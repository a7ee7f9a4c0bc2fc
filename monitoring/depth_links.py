"""The rows on what a worker is connected to: wake-ups, leases, the database, storage, watchers."""

from monitoring.boards import Row
from monitoring.panels import Builder, Look, graph, states
from monitoring.promql import chosen, greatest, hourly, per_minute, quantile, rate, total

_BAD = 'status=~"400|401|404|405|408|409|413|415|422|429|499|500|503|other"'

SILENT = {0: ("silent", "red"), 1: ("proven", "green")}


def links() -> list[Row]:
    """Return the rows."""
    return [
        ("Wake-ups", [*_proof(), *_hints(), *_connections()]),
        ("Leases and sweeps", _leases()),
        ("Database and storage", [*_store(), *_artifacts()]),
        ("Watching jobs live", _live()),
        ("HTTP", _http()),
    ]


def _proof() -> list[Builder]:
    where = "{{instance}} {{source}}"
    return [
        states(
            "Proof of life",
            "Whether something came through each source, not too long ago.",
            (chosen("ourvidz_wakeup_source_proven"), where),
            Look(words=SILENT),
        ),
        graph(
            "Age of the proof",
            "Since a hint or a canary last came through. A canary goes each minute, so 82 s are"
            " the limit.",
            [(greatest("ourvidz_wakeup_proof_age_seconds", "instance", "source"), where)],
            Look("s", alarm=82),
        ),
        graph(
            "Delay of canaries",
            "From the database to the worker, the middle one of the last hundred.",
            [(greatest("ourvidz_wakeup_canary_delay_seconds", "instance", "source"), where)],
            Look("s", alarm=2),
        ),
    ]


def _hints() -> list[Builder]:
    return [
        graph(
            "Hints per minute",
            "That work may exist, by source.",
            [(per_minute("ourvidz_wakeup_hints_total", "source"), "{{source}}")],
            Look(),
        ),
        graph(
            "Missed, in the last hour",
            "Jobs that were found although the source hadn't announced them, and canaries that it"
            " didn't hear.",
            [
                (
                    hourly("ourvidz_wakeup_missed_jobs_total", "source"),
                    "{{source}} jobs",
                ),
                (
                    hourly("ourvidz_wakeup_missed_canaries_total", "source"),
                    "{{source}} canaries",
                ),
            ],
            Look(alarm=5, decimals=0),
        ),
    ]


def _connections() -> list[Builder]:
    return [
        graph(
            "Connections, in the last hour",
            "Made anew, and of these those that replaced a silent one.",
            [
                (
                    hourly("ourvidz_wakeup_connections_total", "source"),
                    "{{source}}",
                ),
                (
                    hourly("ourvidz_wakeup_doubts_total", "source"),
                    "{{source}} doubted",
                ),
            ],
            Look(decimals=0),
        ),
    ]


def _leases() -> list[Builder]:
    return [
        graph(
            "Leases held",
            "Jobs that each worker has the right to.",
            [(total("ourvidz_leases_held", "instance"), "{{instance}}")],
            Look(),
        ),
        graph(
            "Leases lost, renewals failed",
            "In the last hour. A lost lease is work for nothing; a failed renewal is tried again.",
            [
                (
                    hourly("ourvidz_leases_lost_total", "instance"),
                    "{{instance}} lost",
                ),
                (
                    hourly("ourvidz_lease_renew_failures_total", "instance"),
                    "{{instance}} not renewed",
                ),
            ],
            Look(alarm=3, decimals=0),
        ),
        graph(
            "What sweeps found",
            "In the last hour: jobs taken back from expired leases, jobs failed for good; and runs"
            " that ended in a retry.",
            [
                (hourly("ourvidz_sweep_rescued_jobs_total"), "rescued"),
                (hourly("ourvidz_sweep_failed_jobs_total"), "failed"),
                (
                    hourly("ourvidz_jobs_finished_total", where='outcome="retry"'),
                    "retries",
                ),
            ],
            Look(decimals=0),
        ),
    ]


def _store() -> list[Builder]:
    return [
        graph(
            "Calls of the database",
            "95th percentile by call, failed ones too.",
            [(quantile(0.95, "ourvidz_store_call_seconds", "call"), "{{call}}")],
            Look("s", alarm=1),
        ),
        graph(
            "Calls per second",
            "By call.",
            [(rate("ourvidz_store_call_seconds_count", "call"), "{{call}}")],
            Look("reqps"),
        ),
        graph(
            "Failed calls, per minute",
            "No answer came, or the database refused.",
            [(per_minute("ourvidz_store_errors_total", "call", "error"), "{{call}} {{error}}")],
            Look(alarm=1),
        ),
    ]


def _artifacts() -> list[Builder]:
    calls = "ourvidz_artifact_call_seconds"
    return [
        graph(
            "Calls of the artifact store",
            "95th percentile by call and outcome, with all tries of a request.",
            [(quantile(0.95, calls, "call", "outcome"), "{{call}} {{outcome}}")],
            Look("s"),
        ),
        graph(
            "Failed calls of the artifact store, per minute",
            "After three tries.",
            [(per_minute(f"{calls}_count", "call", where='outcome="failed"'), "{{call}}")],
            Look(alarm=1),
        ),
        graph(
            "Stored results",
            "Bytes per second by kind of file.",
            [(rate("ourvidz_artifact_saved_bytes_total", "kind"), "{{kind}}")],
            Look("Bps", stacked=True),
        ),
    ]


def _live() -> list[Builder]:
    return [
        graph(
            "Streams",
            "Clients that follow jobs over HTTP.",
            [(total("ourvidz_live_streams", "instance"), "{{instance}}")],
            Look(width=12),
        ),
        graph(
            "Broadcasts, per minute",
            "Messages on the private topics of running jobs.",
            [
                (per_minute("ourvidz_live_broadcasts_total"), "sent"),
                (per_minute("ourvidz_live_broadcasts_dropped_total"), "dropped"),
                (per_minute("ourvidz_live_broadcast_failures_total"), "failed requests"),
            ],
            Look(width=12),
        ),
    ]


def _http() -> list[Builder]:
    requests = "ourvidz_http_requests_total"
    return [
        graph(
            "Requests",
            "Per second, by the pattern of their path.",
            [(rate(requests, "route"), "{{route}}")],
            Look("reqps", stacked=True),
        ),
        graph(
            "Refused and failed, per minute",
            "By status: 4xx are callers' mistakes, 429 limits, 499 clients that left, 503 a full,"
            " starting or draining worker, 500 a run or the worker that failed.",
            [(per_minute(requests, "status", where=_BAD), "{{status}}")],
            Look(),
        ),
        graph(
            "Time to the end of an answer",
            "95th percentile by route, streams to their end.",
            [(quantile(0.95, "ourvidz_http_request_seconds", "route"), "{{route}}")],
            Look("s"),
        ),
    ]
