"""The histories find defects: each of these is planted, and they must fail.

The ledgers' own check is taken out, so that the world's count has to notice. What a function of
`DEFECTS` does wrong, its name says.
"""

from collections.abc import Callable

import pytest
from histories import Histories
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from daemon.scheduling import estimates, moves
from daemon.scheduling.estimates import Estimates, Likeness
from daemon.scheduling.policy import IndexPolicy
from daemon.scheduling.reasons import Reason, WaitClock
from daemon.scheduling.residency import Placement, Residency
from daemon.scheduling.state import Run, State
from daemon.scheduling.vram import HostLedger, Ledger
from daemon.values import AdmissionRequest, Loaded

LOOK = settings(
    max_examples=600,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)

Patch = pytest.MonkeyPatch


def a_run_gives_its_bytes_back_twice(patch: Patch) -> None:
    release = Ledger.release

    def twice(self: Ledger, run: str, model: str) -> None:
        self._held -= self.reservation(model, run)
        release(self, run, model)

    patch.setattr(Ledger, "release", twice)


def a_run_gives_nothing_back(patch: Patch) -> None:
    release = Ledger.release

    def kept(self: Ledger, run: str, model: str) -> None:
        self._held += self.reservation(model, run)
        release(self, run, model)

    patch.setattr(Ledger, "release", kept)


def a_lost_engines_run_gives_back_before_it_is_gone(patch: Patch) -> None:
    end = State.end

    def early(self: State, request_id: str, now: float) -> Run:
        run = end(self, request_id, now)
        place = run.placement
        if place.residency is Residency.EVICTING and place.load_number == run.load_number:
            self.ledgers[place.device].release(request_id, place.model.name)
        return run

    patch.setattr(State, "end", early)


def what_is_taken_isnt_counted(patch: Patch) -> None:
    patch.setattr(Ledger, "_take", lambda self, n_bytes, why: None)


def what_others_use_is_promised(patch: Patch) -> None:
    patch.setattr(Ledger, "free_bytes", property(lambda self: self.usable_bytes - self._held))


def an_engine_that_is_gone_keeps_its_reservations(patch: Patch) -> None:
    release = Ledger.release_model

    def kept(self: Ledger, model: str) -> None:
        self._held += self.reserved_by(model)
        release(self, model)

    patch.setattr(Ledger, "release_model", kept)


def an_offload_frees_what_the_engine_keeps(patch: Patch) -> None:
    offload = Ledger.offload
    patch.setattr(Ledger, "offload", lambda self, model, left_bytes: offload(self, model, 0))


def measured_weights_are_ignored(patch: Patch) -> None:
    settle = Ledger.settle_weights
    patch.setattr(
        Ledger,
        "settle_weights",
        lambda self, model, measured: settle(self, model, self.weights_of(model)),
    )


def budgets_are_ignored(patch: Patch) -> None:
    def reserve(self: Ledger, run: str, model: str, n_bytes: int) -> None:
        self._take(n_bytes, run)
        self._accounts[model].reserved += n_bytes
        self._accounts[model].runs[run] = n_bytes

    patch.setattr(Ledger, "budget_room_of", lambda self, model: 1 << 40)
    patch.setattr(Ledger, "reserve", reserve)


def there_is_a_slot_too_many(patch: Patch) -> None:
    slots = State.slots
    patch.setattr(State, "slots", lambda self, place, lane: slots(self, place, lane) + 1)


def others_start_beside_a_run_that_has_the_device_for_itself(patch: Patch) -> None:
    class Forgetful(dict[int, str]):
        def __setitem__(self, device: int, run: str) -> None:
            """Forget."""

    begin = State.__init__

    def forgetful(self: State, *facts: object, **more: object) -> None:
        begin(self, *facts, **more)  # type: ignore[arg-type]
        self.exclusive = Forgetful()

    patch.setattr(State, "__init__", forgetful)


def a_run_for_itself_starts_beside_others(patch: Patch) -> None:
    patch.setattr(State, "alone", lambda self, placement: True)


def the_hosts_memory_is_never_taken(patch: Patch) -> None:
    patch.setattr(HostLedger, "hold", lambda self, model, device, n_bytes: None)


def the_hosts_memory_is_never_given_back(patch: Patch) -> None:
    patch.setattr(HostLedger, "release", lambda self, model, device: None)


def two_models_load_side_by_side(patch: Patch) -> None:
    class Forgetful(set[int]):
        def add(self, device: int) -> None:
            """Forget."""

        def remove(self, device: int) -> None:
            """Find nothing."""

    begin = State.__init__

    def forgetful(self: State, *facts: object, **more: object) -> None:
        begin(self, *facts, **more)  # type: ignore[arg-type]
        self.loading = Forgetful()

    patch.setattr(State, "__init__", forgetful)


def leaks_are_overlooked(patch: Patch) -> None:
    patch.setattr(moves, "doom", lambda state, placement: None)


def an_engine_that_leaks_takes_more_runs(patch: Patch) -> None:
    doom = moves.doom

    def forgiven(state: State, placement: Placement) -> None:
        doom(state, placement)
        placement.doomed = False

    patch.setattr(moves, "doom", forgiven)


def nobody_looks_again_at_a_deadline(patch: Patch) -> None:
    patch.setattr(IndexPolicy, "next_deadline", lambda self, state, now: None)


def waits_are_forgotten_when_their_reason_changes(patch: Patch) -> None:
    def turn(self: WaitClock, reason: Reason, now: float) -> None:
        self.reason, self._since_s = reason, now

    patch.setattr(WaitClock, "turn", turn)


def runs_beside_one_another_count_as_if_alone(patch: Patch) -> None:
    enter = State._enter

    def alone(self: State, placement: Placement, run: Run, now: float) -> None:
        enter(self, placement, run, now)
        for each in self.runs.values():
            each.shared = False
        run.shared = False

    patch.setattr(State, "_enter", alone)


def what_one_quality_takes_counts_for_the_other(patch: Patch) -> None:
    def took(self: Estimates, request: AdmissionRequest, n_bytes: int, promised: int) -> None:
        for quality in self._models[request.model].qualities:
            self._learn(Likeness(request.model, quality, request.size, request.batch), n_bytes)

    patch.setattr(Estimates, "took", took)


def what_was_learned_exceeds_the_budget(patch: Patch) -> None:
    patch.setattr(Estimates, "_spare", lambda self, name: 1 << 40)


def the_first_run_decides(patch: Patch) -> None:
    patch.setattr(estimates, "ENOUGH", 1)


def one_odd_load_is_kept_for_ever(patch: Patch) -> None:
    def measured(self: Estimates, model: str, *measured_bytes: int) -> None:
        self._weights[model] = max(self._weights[model], *measured_bytes, 0)
        self._recompute(model)

    patch.setattr(Estimates, "weights_measured", measured)
    patch.setattr(Estimates, "loads", lambda self, model: ())


def a_kept_engine_that_doesnt_fit_stays(patch: Patch) -> None:
    adopt = moves.adopt

    def adopted(state: State, model: str, device: int, measured: Loaded, now: float) -> bool:
        adopt(state, model, device, measured, now)
        return True

    patch.setattr(moves, "adopt", adopted)


DEFECTS = [
    a_run_gives_its_bytes_back_twice,
    a_run_gives_nothing_back,
    a_lost_engines_run_gives_back_before_it_is_gone,
    what_is_taken_isnt_counted,
    what_others_use_is_promised,
    an_engine_that_is_gone_keeps_its_reservations,
    an_offload_frees_what_the_engine_keeps,
    measured_weights_are_ignored,
    budgets_are_ignored,
    there_is_a_slot_too_many,
    others_start_beside_a_run_that_has_the_device_for_itself,
    a_run_for_itself_starts_beside_others,
    the_hosts_memory_is_never_taken,
    the_hosts_memory_is_never_given_back,
    two_models_load_side_by_side,
    leaks_are_overlooked,
    an_engine_that_leaks_takes_more_runs,
    nobody_looks_again_at_a_deadline,
    waits_are_forgotten_when_their_reason_changes,
    runs_beside_one_another_count_as_if_alone,
    what_one_quality_takes_counts_for_the_other,
    what_was_learned_exceeds_the_budget,
    the_first_run_decides,
    one_odd_load_is_kept_for_ever,
    a_kept_engine_that_doesnt_fit_stays,
]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_a_planted_defect_is_found(defect: Callable[[Patch], None], monkeypatch: Patch) -> None:
    """Some history of a few hundred fails, without any help of the ledgers' own check."""
    monkeypatch.setattr(Ledger, "check", lambda self: None)
    defect(monkeypatch)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Histories, settings=LOOK)
