"""The scheduler's book of memory as time series, by device and by model."""

from collections.abc import Mapping

from daemon.telemetry.series.labels import (
    DEVICE,
    DEVICE_KIND,
    MODEL,
    MODEL_KIND,
    STATE,
)
from daemon.telemetry.series.register import Register


class VramSeries:
    """Where weights are, what each model holds, what it was promised and what it used."""

    def __init__(self, register: Register) -> None:
        self._residency = register.gauge(
            "ourvidz_model_residency", "1 for the state that a model's weights are in", MODEL, STATE
        )
        self._device = register.gauge(
            "ourvidz_vram_bytes", "The scheduler's book of a device", DEVICE, DEVICE_KIND
        )
        self._model = register.gauge(
            "ourvidz_model_vram_bytes",
            "The scheduler's book of a model on a device",
            MODEL,
            DEVICE,
            MODEL_KIND,
        )
        self._budget = register.gauge(
            "ourvidz_model_budget_bytes", "The most that a model may take of a device", MODEL
        )
        self._peak = register.gauge(
            "ourvidz_model_peak_bytes",
            "What the model's engine used at the most in its last run, weights included, as it "
            "measured it",
            MODEL,
        )
        self._outside = register.gauge(
            "ourvidz_vram_outside_bytes", "Device memory that others than this worker use", DEVICE
        )
        self._host = register.gauge(
            "ourvidz_host_weights_bytes", "Memory of the host in which idle models wait"
        )

    def state(self, model: str, state: str) -> None:
        """Show where a model's weights are: 1 for its state, 0 for the one before."""
        for other in STATE.values:
            self._residency.labels(MODEL.of(model), other).set(other == state)

    def budgets(self, budgets: Mapping[str, int]) -> None:
        """Show what each model may take, and no other: a reload may have brought other models."""
        self._budget.clear()
        for model, n_bytes in budgets.items():
            self._budget.labels(MODEL.of(model)).set(n_bytes)

    def device(self, device: int, amounts: Mapping[str, int]) -> None:
        """Show the book of a device, bytes by kind; other kinds are left out."""
        for kind in DEVICE_KIND.values:
            if kind in amounts:
                self._device.labels(str(device), kind).set(amounts[kind])

    def outside(self, device: int, n_bytes: int) -> None:
        """Show what others use on a device."""
        self._outside.labels(str(device)).set(n_bytes)

    def clear_models(self) -> None:
        """Forget which model was on which device."""
        self._model.clear()

    def model(self, model: str, device: int, *, weights: int, reserved: int) -> None:
        """Show what a model holds on a device."""
        for kind, n_bytes in (("weights", weights), ("reserved", reserved)):
            self._model.labels(MODEL.of(model), str(device), kind).set(n_bytes)

    def peak(self, model: str, n_bytes: int) -> None:
        """Show what a run was measured to use."""
        self._peak.labels(MODEL.of(model)).set(n_bytes)

    def host(self, n_bytes: int) -> None:
        """Show what weights hold in the host's memory."""
        self._host.set(n_bytes)
