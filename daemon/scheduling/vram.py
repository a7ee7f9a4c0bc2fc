"""The ledger of one device's memory: who may use how many bytes, at any moment.

Invariants, checked before each change is made:

- weights (being loaded, resident or being unloaded) + reservations <= capacity - reserve;
- per model, weights + reservations <= budget.

Bytes leave the ledger only when they are free for certain: a reservation when its run has ended in
a living engine, everything of a model when its engine is gone.
"""

from dataclasses import dataclass, field

from daemon.scheduling.models import DeviceSpec


class VramInvariantError(AssertionError):
    """A change would promise bytes that aren't there: an error in the caller, never a state."""


@dataclass(slots=True)
class _Account:
    """What one model holds. `overrun` are bytes that it took beyond what it was promised."""

    budget: int
    weights: int
    settled: bool = False
    overrun: int = 0
    reserved: int = 0
    runs: dict[str, int] = field(default_factory=dict)


class Ledger:
    """The bytes of one device."""

    def __init__(self, device: DeviceSpec) -> None:
        self.device = device
        self.usable_bytes = device.usable_bytes
        self._held = 0
        self._accounts: dict[str, _Account] = {}

    @property
    def free_bytes(self) -> int:
        """Bytes that nobody holds."""
        return self.usable_bytes - self._held

    def weights_of(self, model: str) -> int:
        """Bytes that the model's weights hold here, 0 when it isn't here."""
        account = self._accounts.get(model)
        return 0 if account is None else account.weights + account.overrun

    def reserved_by(self, model: str) -> int:
        """Bytes that the model's runs hold here."""
        account = self._accounts.get(model)
        return 0 if account is None else account.reserved

    def reservation(self, model: str, run: str) -> int:
        """Bytes that one run holds here, 0 when it doesn't."""
        account = self._accounts.get(model)
        return 0 if account is None else account.runs.get(run, 0)

    def room_of(self, model: str) -> int:
        """Bytes that runs of a model that is here may still reserve, by device and by budget."""
        account = self._accounts[model]
        left = account.budget - account.weights - account.reserved
        free = self.usable_bytes - self._held
        return min(left, free)

    def budget_room_of(self, model: str) -> int:
        """Bytes that runs of a model that is here may still reserve by its budget alone."""
        account = self._accounts[model]
        return account.budget - account.weights - account.reserved

    def hold_weights(self, model: str, n_bytes: int, budget: int) -> None:
        """Hold the bytes of a load that begins."""
        if model in self._accounts:
            raise VramInvariantError(f"{model} already holds bytes on device {self.device.index}")
        if n_bytes > budget:
            raise VramInvariantError(f"weights of {model}: {n_bytes} bytes, budget {budget}")
        self._take(n_bytes, f"weights of {model}")
        self._accounts[model] = _Account(budget, n_bytes)

    def settle_weights(self, model: str, measured: int) -> bool:
        """Replace the expected bytes of a load by the measured ones; False: they don't fit.

        Then the model also holds all that was free, so that nothing is promised beside it: the
        caller unloads it.
        """
        account = self._accounts.get(model)
        if account is None or account.settled or account.runs:
            raise VramInvariantError(f"{model} isn't being loaded on device {self.device.index}")
        account.settled = True
        extra = measured - account.weights
        if measured <= account.budget and extra <= self.free_bytes:
            self._take(extra, f"measured weights of {model}")
            account.weights = measured
            return True
        account.overrun = self.free_bytes
        self._take(account.overrun, f"overrun of {model}")
        return False

    def reserve(self, run: str, model: str, n_bytes: int) -> None:
        """Promise bytes to a run of a model that is here."""
        account = self._accounts.get(model)
        if account is None or run in account.runs:
            raise VramInvariantError(f"run {run}: {model} isn't here, or it has a reservation")
        if account.weights + account.reserved + n_bytes > account.budget:
            raise VramInvariantError(
                f"run {run} of {model}: {n_bytes} bytes beside {account.weights} of weights and "
                f"{account.reserved} reserved, budget {account.budget}"
            )
        self._take(n_bytes, f"run {run}")
        account.reserved += n_bytes
        account.runs[run] = n_bytes

    def release(self, run: str, model: str) -> None:
        """Take back a run's bytes: it has ended and its engine lives."""
        account = self._accounts.get(model)
        if account is None or run not in account.runs:
            raise VramInvariantError(f"run {run} of {model} has no reservation")
        n_bytes = account.runs.pop(run)
        account.reserved -= n_bytes
        self._held -= n_bytes

    def release_model(self, model: str) -> None:
        """Take back all that a model holds: its engine is gone for certain."""
        account = self._accounts.pop(model, None)
        if account is None:
            raise VramInvariantError(f"{model} holds nothing on device {self.device.index}")
        self._held -= account.weights + account.overrun + account.reserved

    def check(self) -> None:
        """Count everything again from the single entries; raises on any difference."""
        held = 0
        for model, account in self._accounts.items():
            reserved = sum(account.runs.values())
            held += account.weights + account.overrun + reserved
            if reserved != account.reserved:
                raise VramInvariantError(f"{model}: {account.reserved} kept, {reserved} counted")
            if account.weights + reserved > account.budget:
                raise VramInvariantError(f"{model} holds more than {account.budget} bytes")
        if held != self._held or held > self.usable_bytes:
            raise VramInvariantError(
                f"device {self.device.index}: {self._held} bytes kept, {held} counted, "
                f"{self.usable_bytes} usable"
            )

    def _take(self, n_bytes: int, why: str) -> None:
        if self._held + n_bytes > self.usable_bytes:
            raise VramInvariantError(
                f"device {self.device.index}, {why}: {n_bytes} bytes beside {self._held} held, "
                f"{self.usable_bytes} usable"
            )
        self._held += n_bytes
