"""What an operator sees of the scheduler: plain values, made for `/status`."""

from dataclasses import dataclass

from daemon.scheduling.lanes import Lane
from daemon.scheduling.residency import Residency
from daemon.scheduling.state import Run, State


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run that holds a reservation, and since how many seconds."""

    request_id: str
    quality: str
    interactive: bool
    running_s: float


@dataclass(frozen=True, slots=True)
class PlacementSnapshot:
    """One model that is not cold on a device, with its bytes."""

    model: str
    residency: Residency
    weights_bytes: int
    reserved_bytes: int
    runs: tuple[RunSnapshot, ...]


@dataclass(frozen=True, slots=True)
class DeviceSnapshot:
    """One device's bytes and what they are used for."""

    device: int
    capacity_bytes: int
    reserve_bytes: int
    free_bytes: int
    placements: tuple[PlacementSnapshot, ...]


@dataclass(frozen=True, slots=True)
class LaneSnapshot:
    """Requests that wait: how many, how long the oldest has (seconds), and why."""

    model: str
    quality: str
    interactive: bool
    waiting: int
    oldest_s: float
    why: str


@dataclass(frozen=True, slots=True)
class BackOffSnapshot:
    """A model whose loads failed: how often, the last error, and seconds until the next try."""

    model: str
    failures: int
    error: str
    next_try_s: float


@dataclass(frozen=True, slots=True)
class SchedulerSnapshot:
    """Everything at one moment."""

    devices: tuple[DeviceSnapshot, ...]
    lanes: tuple[LaneSnapshot, ...]
    back_offs: tuple[BackOffSnapshot, ...]
    draining: bool


def snapshot_of(state: State, now: float, *, draining: bool) -> SchedulerSnapshot:
    """Describe the state at `now`."""
    return SchedulerSnapshot(
        devices=tuple(_device(state, device, now) for device in state.ledgers),
        lanes=tuple(_lane(state, lane, now) for lane in state.lanes.values() if lane.waiting),
        back_offs=tuple(
            BackOffSnapshot(model, each.failures, each.message, max(0.0, each.until_s - now))
            for model, each in state.back_offs.items()
            if each.failures
        ),
        draining=draining,
    )


def _device(state: State, device: int, now: float) -> DeviceSnapshot:
    ledger = state.ledgers[device]
    runs: dict[str, list[RunSnapshot]] = {}
    for run in state.runs.values():
        if run.placement.device == device and run.load_number == run.placement.load_number:
            runs.setdefault(run.request.model, []).append(_run(run, now))
    return DeviceSnapshot(
        device=device,
        capacity_bytes=ledger.device.capacity_bytes,
        reserve_bytes=ledger.device.reserve_bytes,
        free_bytes=ledger.free_bytes,
        placements=tuple(
            PlacementSnapshot(
                model=placement.model.name,
                residency=placement.residency,
                weights_bytes=ledger.weights_of(placement.model.name),
                reserved_bytes=ledger.reserved_by(placement.model.name),
                runs=tuple(runs.get(placement.model.name, ())),
            )
            for placement in state.placements_on[device]
            if placement.residency is not Residency.COLD
        ),
    )


def _run(run: Run, now: float) -> RunSnapshot:
    request = run.request
    return RunSnapshot(request.id, request.quality, request.interactive, now - run.started_s)


def _lane(state: State, lane: Lane, now: float) -> LaneSnapshot:
    return LaneSnapshot(
        model=lane.model.name,
        quality=lane.quality.name,
        interactive=lane.interactive,
        waiting=lane.waiting,
        oldest_s=now - lane.head().submitted_s,
        why=_why(state, lane),
    )


def _why(state: State, lane: Lane) -> str:
    """Say why a lane waits.

    1. The model is on no device: it is unloaded, or other models have the memory.
    2. It is on its way there.
    3. It is there: slots or memory are taken, or the memory is kept for somebody who waits longer.
    """
    model, quality = lane.key
    residencies = {placement.residency for placement in state.placements_of[model]}
    if Residency.RESIDENT in residencies:  # 3
        if any(state.may_start(placement, quality) for placement in state.placements_of[model]):
            return "kept back for requests that were passed over"
        return "every slot is taken, or the device's memory is"
    if Residency.LOADING in residencies:  # 2
        return "the model is being loaded"
    if Residency.EVICTING in residencies:  # 1
        return "the model is being unloaded"
    return "other models have the device"
