"""What an operator sees of the scheduler: plain values, made for `/status`."""

from collections.abc import Mapping
from dataclasses import dataclass

from daemon.scheduling.accounting import reason_of
from daemon.scheduling.claims import Claim
from daemon.scheduling.lanes import Lane, Waiting
from daemon.scheduling.reasons import Reason
from daemon.scheduling.residency import Placement, Residency
from daemon.scheduling.state import Run, State
from daemon.scheduling.words import why

MOST_WAITING = 100
"""Waiting requests that are shown one by one."""


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run: what it was promised, since how many seconds it runs, and for how many more."""

    request_id: str
    quality: str
    interactive: bool
    exclusive: bool
    promised_bytes: int
    running_s: float
    expected_s: float


@dataclass(frozen=True, slots=True)
class PlacementSnapshot:
    """One model that is not cold on a device, with its bytes.

    `host_bytes` are those of its copy in the host's memory; `leaks`: its engine goes when idle.
    """

    model: str
    residency: Residency
    since_s: float
    weights_bytes: int
    reserved_bytes: int
    host_bytes: int
    leaks: bool
    runs: tuple[RunSnapshot, ...]


@dataclass(frozen=True, slots=True)
class DeviceSnapshot:
    """One device's bytes and what they are used for; `outside_bytes` are those of others."""

    device: int
    capacity_bytes: int
    reserve_bytes: int
    outside_bytes: int
    free_bytes: int
    placements: tuple[PlacementSnapshot, ...]


@dataclass(frozen=True, slots=True)
class WaitingSnapshot:
    """A request that waits, and the seconds that it has waited so far, by reason."""

    request_id: str
    model: str
    quality: str
    interactive: bool
    exclusive: bool
    ahead: int | None
    """How many of its class go before it, which users take in turn; None: more than are shown."""
    waited_s: dict[str, float]


@dataclass(frozen=True, slots=True)
class LaneSnapshot:
    """Requests that wait: how many, how long the oldest has (seconds), and why.

    `in_table` are jobs of the class that nobody has claimed yet, as they were last counted; of a
    class that waits there alone `oldest_s` isn't known, and is 0.
    """

    model: str
    quality: str
    interactive: bool
    exclusive: bool
    waiting: int
    in_table: int
    oldest_s: float
    reason: Reason
    why: str


@dataclass(frozen=True, slots=True)
class BackOffSnapshot:
    """A model whose loads failed: how often, the last error, and seconds until the next try."""

    model: str
    failures: int
    error: str
    next_try_s: float


@dataclass(frozen=True, slots=True)
class MovesSnapshot:
    """What moving one model is expected to take, in seconds, by what was measured here."""

    model: str
    load_s: float
    restore_s: float
    offload_s: float
    unload_s: float


@dataclass(frozen=True, slots=True)
class ReservationSnapshot:
    """What runs alike are promised, where that was learned, bytes."""

    model: str
    quality: str
    size: int
    batch: int
    reserved_bytes: int


@dataclass(frozen=True, slots=True)
class CoverageSnapshot:
    """Measured runs of a class, and the share that stayed within what it was promised."""

    model: str
    quality: str
    runs: int
    covered: float


@dataclass(frozen=True, slots=True)
class SchedulerSnapshot:
    """Everything at one moment."""

    devices: tuple[DeviceSnapshot, ...]
    host_capacity_bytes: int
    host_free_bytes: int
    lanes: tuple[LaneSnapshot, ...]
    waiting: tuple[WaitingSnapshot, ...]
    back_offs: tuple[BackOffSnapshot, ...]
    moves: tuple[MovesSnapshot, ...]
    reservations: tuple[ReservationSnapshot, ...]
    coverage: tuple[CoverageSnapshot, ...]
    draining: bool


def snapshot_of(
    state: State, claims: Mapping[int, Claim], now: float, *, draining: bool
) -> SchedulerSnapshot:
    """Describe the state at `now`; lanes' clocks say why they wait."""
    waiting = list(state.waiting.values())[:MOST_WAITING]
    ahead = {id(each): number for lane in state.lanes for number, each in enumerate(lane.first())}
    return SchedulerSnapshot(
        devices=tuple(_device(state, device, now) for device in state.ledgers),
        host_capacity_bytes=state.host.capacity_bytes,
        host_free_bytes=state.host.free_bytes,
        lanes=tuple(_lane(state, lane, claims, now) for lane in state.lanes if lane.waiting)
        + tuple(
            _in_table(state, lane, claims, now, draining=draining)
            for lane in state.lanes
            if lane.unclaimed and not lane.waiting
        ),
        waiting=tuple(_waiting(each, ahead.get(id(each)), now) for each in waiting),
        back_offs=tuple(
            BackOffSnapshot(model, each.failures, each.message, max(0.0, each.until_s - now))
            for model, each in state.back_offs.items()
            if each.failures
        ),
        moves=tuple(_moves(state, model) for model in state.models),
        reservations=tuple(
            ReservationSnapshot(*each, n_bytes)
            for each, n_bytes in state.estimates.learned().items()
        ),
        coverage=tuple(
            CoverageSnapshot(*key, each.runs, round(each.within / each.runs, 4))
            for key, each in state.estimates.coverage.items()
        ),
        draining=draining,
    )


def _device(state: State, device: int, now: float) -> DeviceSnapshot:
    ledger = state.ledgers[device]
    return DeviceSnapshot(
        device=device,
        capacity_bytes=ledger.device.capacity_bytes,
        reserve_bytes=ledger.device.reserve_bytes,
        outside_bytes=ledger.outside_bytes,
        free_bytes=ledger.free_bytes,
        placements=tuple(
            _placement(state, placement, now)
            for placement in state.placements_on[device]
            if placement.residency is not Residency.COLD
        ),
    )


def _placement(state: State, placement: Placement, now: float) -> PlacementSnapshot:
    ledger, model = state.ledgers[placement.device], placement.model.name
    return PlacementSnapshot(
        model=model,
        residency=placement.residency,
        since_s=now - placement.changed_s,
        weights_bytes=ledger.weights_of(model),
        reserved_bytes=ledger.reserved_by(model),
        host_bytes=state.host.held_by(model, placement.device),
        leaks=placement.doomed,
        runs=tuple(
            _run(run, placement, now)
            for run in state.runs.values()
            if run.placement is placement and run.load_number == placement.load_number
        ),
    )


def _run(run: Run, placement: Placement, now: float) -> RunSnapshot:
    request = run.request
    return RunSnapshot(
        request.id,
        request.quality,
        request.interactive,
        request.exclusive,
        run.promised,
        now - run.started_s,
        max(0.0, placement.ends_s.get(request.id, now) - now),
    )


def _waiting(waiting: Waiting, ahead: int | None, now: float) -> WaitingSnapshot:
    request = waiting.request
    waited_s = {name: round(value, 3) for name, value in waiting.waits(now)._asdict().items()}
    return WaitingSnapshot(
        request.id,
        request.model,
        request.quality,
        request.interactive,
        request.exclusive,
        ahead,
        waited_s,
    )


def _moves(state: State, model: str) -> MovesSnapshot:
    durations = state.durations
    return MovesSnapshot(
        model,
        round(durations.load_s(model), 3),
        round(durations.restore_s(model), 3),
        round(durations.offload_s(model), 3),
        round(durations.unload_s(model), 3),
    )


def _lane(state: State, lane: Lane, claims: Mapping[int, Claim], now: float) -> LaneSnapshot:
    return LaneSnapshot(
        model=lane.model.name,
        quality=lane.quality.name,
        interactive=lane.interactive,
        exclusive=lane.exclusive,
        waiting=lane.waiting,
        in_table=lane.unclaimed,
        oldest_s=now - min(waiting.submitted_s for waiting in lane),
        reason=lane.clock.reason,
        why=why(state, lane, lane.clock.reason, claims, now),
    )


def _in_table(
    state: State, lane: Lane, claims: Mapping[int, Claim], now: float, *, draining: bool
) -> LaneSnapshot:
    """Describe a class of which jobs wait in the table alone."""
    reason = reason_of(state, None, lane, now)
    starts = any(state.may_start(place, lane) for place in state.placements_of[lane.model.name])
    if draining:
        words = "not claimed: the worker drains"
    elif starts and not any(claim.lane is not lane for claim in claims.values()):
        words = "about to be claimed"
    else:
        words = f"not claimed before it could start: {why(state, lane, reason, claims, now)}"
    return LaneSnapshot(
        model=lane.model.name,
        quality=lane.quality.name,
        interactive=lane.interactive,
        exclusive=lane.exclusive,
        waiting=0,
        in_table=lane.unclaimed,
        oldest_s=0.0,
        reason=reason,
        why=words,
    )
