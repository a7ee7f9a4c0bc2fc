"""What waits at the scheduler, what it promised, and what became of that, as time series."""

from collections.abc import Mapping
from math import nan

from daemon.telemetry.series.labels import MODEL, MOVE, QUALITY
from daemon.telemetry.series.register import Register


class SchedulingSeries:
    """Claimed jobs that wait for the GPU; promises of ends and of memory."""

    def __init__(self, register: Register) -> None:
        self._waiting = register.gauge(
            "ourvidz_admission_waiting_jobs",
            "Claimed jobs that wait for the GPU, by class",
            MODEL,
            QUALITY,
        )
        self._oldest = register.gauge(
            "ourvidz_admission_oldest_seconds",
            "How long the first of them has waited since its row was due, by class",
            MODEL,
            QUALITY,
        )
        self._moves = register.gauge(
            "ourvidz_model_move_expected_seconds",
            "What a move of the model's weights is expected to take, from what was measured here",
            MODEL,
            MOVE,
        )
        self._ends = register.gauge(
            "ourvidz_eta_coverage_ratio",
            "Share of completed jobs that ended by the moment that they were first told when held",
        )
        self._queue_ends = register.gauge(
            "ourvidz_eta_queued_coverage_ratio",
            "Share of completed jobs that ended by the moment that they were last told when queued",
        )
        self._memory = register.gauge(
            "ourvidz_reservation_coverage_ratio",
            "Share of measured runs that stayed within their reservation",
            MODEL,
            QUALITY,
        )
        self._ends.set(nan)
        self._queue_ends.set(nan)

    def waiting(self, classes: Mapping[tuple[str, str], tuple[int, float]]) -> None:
        """Show who waits: by model and quality, how many and how long the first has, seconds."""
        self._waiting.clear()
        self._oldest.clear()
        for (model, quality), (count, oldest_s) in classes.items():
            self._waiting.labels(MODEL.of(model), QUALITY.of(quality)).set(count)
            self._oldest.labels(MODEL.of(model), QUALITY.of(quality)).set(oldest_s)

    def move_expected(self, model: str, move: str, seconds: float) -> None:
        """Show what a move is expected to take."""
        self._moves.labels(MODEL.of(model), move).set(seconds)

    def ends_kept(self, held: float | None, queued: float | None) -> None:
        """Show the shares of promised ends that were kept; None: there were none."""
        self._ends.set(nan if held is None else held)
        self._queue_ends.set(nan if queued is None else queued)

    def memory_kept(self, model: str, quality: str, covered: float) -> None:
        """Show the share of a class's runs that stayed within what they were promised."""
        self._memory.labels(MODEL.of(model), QUALITY.of(quality)).set(covered)
