"""What really is on the devices of one scheduler, counted by itself.

It is fed with the commands and with the ends of their acts, and knows neither the ledgers nor the
residency table: an error there doesn't hide itself. Everything that it asserts is an invariant of
the scheduler.
"""

from dataclasses import dataclass, field

from daemon.scheduling.models import ModelSpec
from daemon.scheduling.state import State
from daemon.values import AdmissionRequest

Key = tuple[str, int]
"""A model on a device."""


@dataclass
class ShadowRun:
    """A run, and the bytes that it uses. A lost one's bytes belong to its dying engine."""

    model: str
    quality: str
    device: int
    n_bytes: int
    lost: bool = False
    exclusive: bool = False


@dataclass
class Shadow:
    """Bytes, slots and moves."""

    models: dict[str, ModelSpec]
    usable: dict[int, int]
    weights: dict[Key, int] = field(default_factory=dict)
    """Of engines that aren't gone; a dying one keeps its runs' bytes too."""
    measured: dict[str, list[int]] = field(default_factory=dict)
    """All weights of each model that were measured within its budget, in their order."""
    outside: dict[int, int] = field(default_factory=dict)
    """What others use."""
    host_bytes: int = 0
    host: dict[Key, int] = field(default_factory=dict)
    """Copies in the host's memory."""
    offloading: set[Key] = field(default_factory=set)
    offloaded: set[Key] = field(default_factory=set)
    loading: set[Key] = field(default_factory=set)
    resident: set[Key] = field(default_factory=set)
    leaking: set[Key] = field(default_factory=set)
    runs: dict[str, ShadowRun] = field(default_factory=dict)

    def start(self, each: AdmissionRequest, on: int, n_bytes: int) -> None:
        """Take the bytes that a run was promised; for itself it has the whole device."""
        key = each.model, on
        assert key in self.resident, f"{each.id} starts on an absent {each.model}"
        assert key not in self.leaking, f"{each.id} starts in a leaking {each.model}"
        self._nobody_needs_it_alone(on)
        if each.exclusive:
            assert [present for present in self.weights if present[1] == on] == [key]
            assert not self.living(*key)
        assert n_bytes == 0 or not self.models[each.model].runs_included
        run = ShadowRun(each.model, each.quality, on, n_bytes, exclusive=each.exclusive)
        self.runs[each.id] = run
        if n_bytes:
            self._promised(on)

    def load(self, name: str, on: int) -> None:
        """Take the bytes that a load is expected to need."""
        key = name, on
        assert key not in self.weights or key in self.offloaded
        assert key not in self.leaking
        self._nobody_needs_it_alone(on)
        self.offloaded.discard(key)
        self.loading.add(key)
        before = self.weights.get(key, 0)
        expected = self.expected(name)
        self.weights[key] = max(expected, before)
        if expected > before:
            self._promised(on)

    def expected(self, name: str) -> int:
        """Return what a load must be expected to take."""
        return max(self.models[name].weights_bytes, *self.measured.get(name, [])[-8:], 0)

    def loaded(self, name: str, on: int, measured: int) -> None:
        """Take what a load really took; its copy in the host's memory is gone."""
        self.loading.remove((name, on))
        self.resident.add((name, on))
        self.host.pop((name, on), None)
        if self.models[name].runs_included:
            measured = max(measured, self.models[name].budget_bytes)
        self.weights[name, on] = measured
        if measured <= self.models[name].budget_bytes:
            self.measured.setdefault(name, []).append(measured)

    def offload(self, name: str, on: int) -> None:
        """Take room in the host's memory; the device's bytes aren't free yet."""
        assert (name, on) in self.resident
        assert not self.living(name, on), f"{name} is offloaded under its runs"
        self.resident.discard((name, on))
        self.offloading.add((name, on))
        self.host[name, on] = self.weights[name, on]
        assert sum(self.host.values()) <= self.host_bytes, f"the host holds {self.host}"

    def offload_done(self, name: str, on: int, left: int, host_bytes: int) -> None:
        """Give the device all but what the engine keeps."""
        self.offloading.remove((name, on))
        self.offloaded.add((name, on))
        self.weights[name, on] = min(left, self.weights[name, on])
        self.host[name, on] = host_bytes

    def unload(self, name: str, on: int) -> None:
        """Let an engine go, with its bytes."""
        assert not self.living(name, on), f"{name} is evicted under its runs"
        self._leave(name, on)

    def lose(self, name: str, on: int) -> None:
        """Let an engine die: its runs' bytes are its own until it is gone."""
        self._leave(name, on)
        for run in self.living(name, on):
            self.weights[name, on] += run.n_bytes
            run.lost = True

    def gone(self, name: str, on: int) -> None:
        """Free all that an engine held."""
        self._leave(name, on)
        self.loading.discard((name, on))
        self.leaking.discard((name, on))
        self.host.pop((name, on), None)
        del self.weights[name, on]

    def living(self, name: str, on: int) -> list[ShadowRun]:
        """Return the runs of an engine that isn't dying."""
        return [
            run
            for run in self.runs.values()
            if (run.model, run.device) == (name, on) and not run.lost
        ]

    def check(self, overrun: set[Key]) -> None:
        """Count again. `overrun` are models whose weights took more than anybody promised."""
        for on, usable in self.usable.items():
            here = [name for name, where in self.weights if where == on]
            assert len([1 for _, where in self.loading if where == on]) <= 1
            held = self._held(on)
            if not any((name, on) in overrun for name in here):
                assert held <= usable, f"device {on} holds {held} of {usable}"
            for name in here:
                self._check_model(name, on, within_budget=(name, on) not in overrun)

    def compare(self, state: State) -> None:
        """Find the same bytes in the ledgers: neither more nor less."""
        for on, ledger in state.ledgers.items():
            assert self._held(on) == ledger.held_bytes
            free = self.usable[on] - self.outside.get(on, 0) - self._held(on)
            assert free == ledger.free_bytes
            for name in self.models:
                counted = self._bytes(name, on) if (name, on) in self.weights else 0
                assert counted == ledger.weights_of(name) + ledger.reserved_by(name)
                assert self.host.get((name, on), 0) == state.host.held_by(name, on)
        assert self.host_bytes - sum(self.host.values()) == state.host.free_bytes

    def _promised(self, on: int) -> None:
        """Whatever is newly promised is there, beside what others use."""
        held, used = self._held(on), self.outside.get(on, 0)
        assert held + used <= self.usable[on], f"device {on}: {held} and {used} of others"

    def _nobody_needs_it_alone(self, on: int) -> None:
        assert not any(run.exclusive and run.device == on for run in self.runs.values())

    def _leave(self, name: str, on: int) -> None:
        for places in (self.resident, self.offloading, self.offloaded):
            places.discard((name, on))

    def _check_model(self, name: str, on: int, *, within_budget: bool) -> None:
        spec, runs = self.models[name], self.living(name, on)
        assert len(runs) <= spec.max_concurrent
        for quality in spec.qualities.values():
            assert len([run for run in runs if run.quality == quality.name]) <= quality.concurrency
        if within_budget:
            assert self._bytes(name, on) <= spec.budget_bytes

    def _held(self, on: int) -> int:
        return sum(self._bytes(name, where) for name, where in self.weights if where == on)

    def _bytes(self, name: str, on: int) -> int:
        return self.weights[name, on] + sum(run.n_bytes for run in self.living(name, on))
