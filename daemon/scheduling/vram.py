"""The ledgers: who may use how many bytes of a device, or of the host, at any moment. Pure.

Invariants of a device, checked before each change is made:

- weights (coming, resident or going) + reservations <= capacity - reserve, but for an engine that
  took more than it was promised, until it is gone;
- nothing new is promised of what others use on the device;
- per model, weights + reservations <= budget.

Bytes leave a ledger only when they are free for certain: a reservation when its run has ended in a
living engine, weights when they are in the host's memory, everything when the engine is gone.
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
    offloaded: bool = False
    overrun: int = 0
    reserved: int = 0
    runs: dict[str, int] = field(default_factory=dict)


class Ledger:
    """The bytes of one device."""

    def __init__(self, device: DeviceSpec) -> None:
        self.device = device
        self.usable_bytes = device.usable_bytes
        self.outside_bytes = 0
        """Bytes that others than this worker use, as the driver tells it."""
        self._held = 0
        self._accounts: dict[str, _Account] = {}
        self._weights: dict[str, int] = {}
        """Each account's weights and overrun: asked for a hundred times a decision."""

    @property
    def held_bytes(self) -> int:
        """Bytes that weights and reservations hold."""
        return self._held

    @property
    def free_bytes(self) -> int:
        """Bytes that nobody holds or uses; negative where others have taken promised ones."""
        return self.usable_bytes - self.outside_bytes - self._held

    def weights_of(self, model: str) -> int:
        """Bytes that the model's weights hold here, 0 when it isn't here."""
        return self._weights.get(model, 0)

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
        return min(self.budget_room_of(model), self.free_bytes)

    def budget_room_of(self, model: str) -> int:
        """Bytes that runs of a model that is here may still reserve by its budget alone."""
        account = self._accounts[model]
        return account.budget - account.weights - account.reserved

    def hold_weights(self, model: str, n_bytes: int, budget: int) -> None:
        """Hold the bytes of a load that begins, from disk or from the host's memory."""
        left = self._accounts.get(model)
        if left is not None and not left.offloaded:
            raise VramInvariantError(f"{model} already holds bytes on device {self.device.index}")
        if n_bytes > budget:
            raise VramInvariantError(f"weights of {model}: {n_bytes} bytes, budget {budget}")
        held = 0 if left is None else left.weights
        n_bytes = max(n_bytes, held)
        self._take(n_bytes - held, f"weights of {model}")
        self._accounts[model] = _Account(budget, n_bytes)
        self._weights[model] = n_bytes

    def offload(self, model: str, left_bytes: int) -> None:
        """Keep only what an engine holds whose weights are in the host's memory.

        Nothing is given back of an engine that says it holds more than before.
        """
        account = self._accounts.get(model)
        if account is None or account.runs:
            raise VramInvariantError(f"{model} can't leave device {self.device.index}")
        kept = min(left_bytes, account.weights)
        self._held -= account.weights + account.overrun - kept
        account.weights, account.overrun, account.offloaded = kept, 0, True
        self._weights[model] = kept

    def settle_weights(self, model: str, measured: int) -> bool:
        """Replace the expected bytes of a load by the measured ones; False: they don't fit.

        They are held all the same, as its overrun, since they are taken: the caller unloads it.
        """
        account = self._accounts.get(model)
        if account is None or account.settled or account.runs:
            raise VramInvariantError(f"{model} isn't being loaded on device {self.device.index}")
        account.settled = True
        extra = measured - account.weights
        self._weights[model] = measured
        if measured <= account.budget and extra <= max(0, self.free_bytes):
            self._take(extra, f"measured weights of {model}")
            account.weights = measured
            return True
        account.overrun = extra
        self._held += extra
        return False

    def reserve(self, run: str, model: str, n_bytes: int) -> None:
        """Promise bytes to a run of a model that is here."""
        account = self._accounts.get(model)
        if account is None or account.offloaded or run in account.runs:
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
        del self._weights[model]

    def check(self) -> None:
        """Count everything again from the single entries; raises on any difference."""
        held = overrun = 0
        for model, account in self._accounts.items():
            reserved = sum(account.runs.values())
            overrun += account.overrun
            held += account.weights + account.overrun + reserved
            if self._weights[model] != account.weights + account.overrun:
                raise VramInvariantError(f"{model}: {self._weights[model]} bytes of weights kept")
            if reserved != account.reserved:
                raise VramInvariantError(f"{model}: {account.reserved} kept, {reserved} counted")
            if account.weights + reserved > account.budget:
                raise VramInvariantError(f"{model} holds more than {account.budget} bytes")
        if held != self._held or held - overrun > self.usable_bytes:
            raise VramInvariantError(
                f"device {self.device.index}: {self._held} bytes kept, {held} counted, "
                f"{self.usable_bytes} usable"
            )

    def _take(self, n_bytes: int, why: str) -> None:
        if n_bytes > max(0, self.free_bytes):
            raise VramInvariantError(
                f"device {self.device.index}, {why}: {n_bytes} bytes beside {self._held} held and "
                f"{self.outside_bytes} used by others, {self.usable_bytes} usable"
            )
        self._held += n_bytes


class HostLedger:
    """The bytes of the host's memory in which weights may wait."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self._held: dict[tuple[str, int], int] = {}

    @property
    def free_bytes(self) -> int:
        """Bytes that no weights hold."""
        return self.capacity_bytes - sum(self._held.values())

    def held_by(self, model: str, device: int) -> int:
        """Bytes that the weights of a placement hold, 0 when they aren't here."""
        return self._held.get((model, device), 0)

    def hold(self, model: str, device: int, n_bytes: int) -> None:
        """Hold the bytes of weights that come, or that turned out to take so many.

        Measured bytes may exceed the capacity: the weights are there. Then nobody else comes.
        """
        known = (model, device) in self._held
        if not known and n_bytes > self.free_bytes:
            raise VramInvariantError(
                f"host: {n_bytes} bytes of {model}, {self.free_bytes} of "
                f"{self.capacity_bytes} are free"
            )
        self._held[model, device] = n_bytes

    def release(self, model: str, device: int) -> None:
        """Take back what a placement holds, if anything: its engine is gone for certain."""
        self._held.pop((model, device), None)
