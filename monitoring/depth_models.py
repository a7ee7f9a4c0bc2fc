"""The rows on models: memory, moves, engines."""

from monitoring.boards import Row
from monitoring.panels import Builder, Look, graph, states
from monitoring.promql import chosen, greatest, hourly, mean, per_minute, total

STATES = {
    1: ("unloaded", "semi-dark-blue"),
    2: ("host", "light-blue"),
    3: ("loading", "yellow"),
    4: ("evicting", "orange"),
    5: ("loaded", "green"),
    6: ("failed", "red"),
}
"""The series of a model's state is 1, the others are 0: the greatest product names the state."""


def models() -> list[Row]:
    """Return the rows."""
    return [
        ("Models and memory", [*_residency(), *_devices(), *_holdings()]),
        ("Switches", [*_moves(), *_times()]),
        ("Engines", [*_deaths(), *_troubles()]),
    ]


def _residency() -> list[Builder]:
    products = " or ".join(
        f"""{number} * {chosen("ourvidz_model_residency", f'state="{word}"')}"""
        for number, (word, _) in STATES.items()
    )
    return [
        states(
            "Where weights are",
            "Each model of each worker, by time.",
            (f"max by (instance, model) ({products})", "{{instance}} {{model}}"),
            Look(width=24, words=STATES),
        )
    ]


def _devices() -> list[Builder]:
    return [
        graph(
            "Devices",
            "The scheduler's book: what is kept free, weights and reservations on top of one"
            " another. Together never more than the capacity beside it.",
            [
                (
                    total("ourvidz_vram_bytes", "kind", where='kind!="capacity"'),
                    "{{kind}}",
                ),
            ],
            Look("bytes", width=6, stacked=True),
        ),
        graph(
            "Capacity, and what others use",
            "The devices' memory, and of it what other programs take.",
            [
                (total("ourvidz_vram_bytes", "instance", where='kind="capacity"'), "{{instance}}"),
                (total("ourvidz_vram_outside_bytes", "instance"), "{{instance}} others"),
            ],
            Look("bytes", width=6),
        ),
    ]


def _holdings() -> list[Builder]:
    return [
        graph(
            "Models",
            "Weights and reservations of each model, and its last run's measured peak.",
            [
                (total("ourvidz_model_vram_bytes", "model", "kind"), "{{model}} {{kind}}"),
                (greatest("ourvidz_model_peak_bytes", "model"), "{{model}} peak"),
            ],
            Look("bytes", width=6),
        ),
        graph(
            "Budgets, and the host's memory",
            "The most that each model may take of a device, and what idle models hold in the host's"
            " memory.",
            [
                (greatest("ourvidz_model_budget_bytes", "model"), "{{model}} budget"),
                (total("ourvidz_host_weights_bytes", "instance"), "{{instance}} host"),
            ],
            Look("bytes", width=6),
        ),
    ]


def _moves() -> list[Builder]:
    return [
        graph(
            "Loads and evictions, per minute",
            "Loads from disk and from the host's memory, moves to the host's memory, evictions.",
            [
                (
                    per_minute("ourvidz_model_load_seconds_count", "model", "origin"),
                    "{{model}} from {{origin}}",
                ),
                (
                    per_minute("ourvidz_model_offload_seconds_count", "model"),
                    "{{model}} to host",
                ),
                (per_minute("ourvidz_model_evictions_total", "model"), "{{model}} evicted"),
            ],
            Look(),
        ),
    ]


def _times() -> list[Builder]:
    return [
        graph(
            "Time of moves",
            "Mean of the loads and of the moves to the host's memory.",
            [
                (
                    mean("ourvidz_model_load_seconds", "model", "origin"),
                    "{{model}} from {{origin}}",
                ),
                (mean("ourvidz_model_offload_seconds", "model"), "{{model}} to host"),
            ],
            Look("s"),
        ),
        graph(
            "Time of moves, as expected",
            "What the scheduler reckons with, from what was measured on this host.",
            [
                (
                    greatest("ourvidz_model_move_expected_seconds", "model", "move"),
                    "{{model}} {{move}}",
                )
            ],
            Look("s"),
        ),
    ]


def _deaths() -> list[Builder]:
    return [
        graph(
            "Engines that died",
            "In the last hour, by how they were lost.",
            [
                (
                    hourly("ourvidz_engine_deaths_total", "model", "loss"),
                    "{{model}} {{loss}}",
                )
            ],
            Look(alarm=3, decimals=0),
        ),
    ]


def _troubles() -> list[Builder]:
    return [
        graph(
            "Engines that were replaced",
            "In the last hour: restarts after a death or a leak, and leaks.",
            [
                (
                    hourly("ourvidz_engine_restarts_total", "model"),
                    "{{model}} restarts",
                ),
                (hourly("ourvidz_engine_leaks_total", "model"), "{{model}} leaks"),
            ],
            Look(decimals=0),
        ),
        graph(
            "Out of memory, and failed loads",
            "In the last hour. A run that ran out of memory is tried again with less.",
            [
                (
                    hourly("ourvidz_out_of_memory_total", "model", "during"),
                    "{{model}} out of memory in a {{during}}",
                ),
                (
                    hourly("ourvidz_model_load_failures_total", "model"),
                    "{{model}} loads failed",
                ),
            ],
            Look(alarm=1, decimals=0),
        ),
    ]
